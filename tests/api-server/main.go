// Serves custom resources as clusters do: by the API server of Kubernetes' own library, with its
// server-side apply, field managers, validation and storage in etcd. tests/readers builds it from
// Debian's packages.
//
// usage: api-server ETCD-URL PORT DIRECTORY
//
// The certificate goes into the directory. The server asks nobody who they are. It has no objects
// of the core API, and no controllers run.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	"k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	generated "k8s.io/apiextensions-apiserver/pkg/generated/openapi"
	namer "k8s.io/apiserver/pkg/endpoints/openapi"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/openapi"
)

// core is a kubeconfig for the core API, which nothing here asks for anything.
const core = `{"apiVersion": "v1", "kind": "Config", "current-context": "none",
"clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
"contexts": [{"name": "none", "context": {"cluster": "none"}}]}`

// documents say that there is a core API, which kubectl wants for lists. Its one kind has no
// objects.
var documents = map[string]string{
	"/api": `{"kind": "APIVersions", "versions": ["v1"]}`,
	"/api/v1": `{"kind": "APIResourceList", "groupVersion": "v1", "resources": [{
		"name": "namespaces", "singularName": "namespace", "kind": "Namespace",
		"namespaced": false, "verbs": ["get"]}]}`,
}

func configuration(etcd string, port int, directory string) (*extensions.Config, error) {
	kubeconfig := filepath.Join(directory, "core.json")
	if err := os.WriteFile(kubeconfig, []byte(core), 0o600); err != nil {
		return nil, err
	}
	all := options.NewCustomResourceDefinitionsServerOptions(os.Stdout, os.Stderr)
	parts := all.RecommendedOptions
	parts.Etcd.StorageConfig.Transport.ServerList = []string{etcd}
	parts.SecureServing.BindAddress = net.IPv4(127, 0, 0, 1)
	parts.SecureServing.BindPort = port
	parts.SecureServing.ServerCert.CertDirectory = directory
	parts.CoreAPI.CoreAPIKubeconfigPath = kubeconfig
	parts.Authentication = nil
	parts.Authorization = nil
	parts.Admission = nil
	parts.Features.EnablePriorityAndFairness = false
	if err := all.Complete(); err != nil {
		return nil, err
	}
	if err := all.Validate(); err != nil {
		return nil, err
	}
	config, err := all.Config()
	if err != nil {
		return nil, err
	}
	definitions := openapi.GetOpenAPIDefinitionsWithoutDisabledFeatures(
		generated.GetOpenAPIDefinitions)
	config.GenericConfig.OpenAPIConfig = server.DefaultOpenAPIConfig(
		definitions, namer.NewDefinitionNamer(extensions.Scheme))
	return config, nil
}

func run(etcd, port, directory string) error {
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	config, err := configuration(etcd, number, directory)
	if err != nil {
		return err
	}
	completed := config.Complete()
	// In clusters, an aggregator in front of this server lists the groups.
	completed.GenericConfig.EnableDiscovery = true
	extended, err := completed.New(server.NewEmptyDelegate())
	if err != nil {
		return err
	}
	for path, document := range documents {
		answer := func(response http.ResponseWriter, _ *http.Request) {
			response.Header().Set("Content-Type", "application/json")
			fmt.Fprint(response, document)
		}
		extended.GenericAPIServer.Handler.NonGoRestfulMux.HandleFunc(path, answer)
	}
	return extended.GenericAPIServer.PrepareRun().RunWithContext(server.SetupSignalContext())
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: api-server ETCD-URL PORT DIRECTORY")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "api-server:", err)
		os.Exit(1)
	}
}
