{{/* Labels of everything. */}}
{{- define "crateyard.labels" -}}
app.kubernetes.io/part-of: crateyard
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{/* Pods run as the images' user, with nothing that they do not need. */}}
{{- define "crateyard.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "crateyard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The gateway's address inside the cluster. */}}
{{- define "crateyard.gatewayUrl" -}}
{{ if .Values.gateway.tlsSecret }}https{{ else }}http{{ end }}://{{ .Release.Name }}-gateway:{{ .Values.gateway.port }}
{{- end }}
