//! A stand-in for a cluster's API server, for the real `kubectl`: discovery, server-side apply with
//! managed fields and conflicts, dry runs, watches, and a controller that rolls Deployments out.
//! Debian's archives have such a server for custom resources alone. `tests/readers` can build it,
//! and a test of `deploy` uses it.
//!
//! <https://kubernetes.io/docs/reference/using-api/server-side-apply/>

mod apply;
mod discovery;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::request::Seen;
use crate::scripted::{Answer, Scripted};
use apply::{Conflict, Sets};

/// An image whose name contains this text never starts.
pub const BROKEN: &str = "broken";
/// The size of a template in the message about it, in bytes.
const LONG_VALUE: usize = 8 << 10;

/// The stand-in.
pub struct Cluster {
    server: Scripted,
    state: Arc<Mutex<State>>,
}

/// All objects, each by its path.
#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    version: u64,
    /// The paths of written objects, in order. Dry runs do not count.
    written: Vec<String>,
    /// Namespaces that are not there until an object makes them.
    absent: BTreeSet<String>,
}

#[derive(Clone, Default)]
struct Object {
    value: Value,
    /// Maps managers to the fields that they own.
    sets: Sets,
    /// Maps managers to the time of their last write, counted in writes.
    times: BTreeMap<String, u64>,
}

impl Cluster {
    /// Starts an empty cluster.
    pub fn start() -> Cluster {
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        let server = Scripted::start(move |seen| shared.lock().unwrap().answer(seen));
        Cluster { server, state }
    }

    /// Writes a kubeconfig whose current context is this cluster.
    pub fn write_config(&self, path: &Path, namespace: &str) {
        let server = format!("http://{}", self.server.address);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{ "name": "here", "cluster": { "server": server } }],
            "users": [{ "name": "me", "user": { "token": "secret-token" } }],
            "contexts": [{ "name": "here", "context": { "cluster": "here", "user": "me",
                "namespace": namespace } }],
        });
        std::fs::write(path, config.to_string()).unwrap();
    }

    /// Returns the paths of objects that were written since the last call.
    pub fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().written)
    }

    /// Returns the requests so far: method and path.
    pub fn seen(&self) -> Vec<String> {
        let seen = self.server.seen();
        seen.iter()
            .map(|one| format!("{} {}", one.method, one.path))
            .collect()
    }

    /// Returns an object by its path, such as `/apis/apps/v1/namespaces/shop/deployments/app`.
    pub fn get(&self, path: &str) -> Option<Value> {
        let state = self.state.lock().unwrap();
        state.objects.get(path).map(Object::shown)
    }

    /// Takes a namespace away: the cluster accepts no object in it until somebody creates it.
    pub fn lacks(&self, namespace: &str) {
        self.state
            .lock()
            .unwrap()
            .absent
            .insert(namespace.to_owned());
    }

    /// Sets a field of an object's status, as a controller does.
    pub fn report(&self, path: &str, field: &str, value: Value) {
        let mut state = self.state.lock().unwrap();
        let object = state.objects.get_mut(path).unwrap();
        object.value["status"][field] = value;
    }

    /// Writes fields of an object as another manager.
    pub fn write_as(&self, manager: &str, path: &str, fields: &Value) {
        let mut state = self.state.lock().unwrap();
        let now = state.version + 1;
        let object = state.objects.get(path).cloned().unwrap();
        let object = object.applied(fields, manager, true, now).ok().unwrap();
        state.store(path, object);
    }
}

impl State {
    fn answer(&mut self, seen: &Seen) -> Answer {
        let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
        if let Some(document) = discovery::answer(path) {
            return ok(&document);
        }
        if path == discovery::SCHEMAS {
            // An empty protobuf message stands for no schemas.
            return Answer::new(200);
        }
        let has = |parameter: &str| query.split('&').any(|one| one == parameter);
        match seen.method.as_str() {
            "GET" if has("watch=true") || has("watch=1") => self.watch(path, query),
            "GET" if self.objects.contains_key(path) => ok(&self.objects[path].shown()),
            "GET" if is_list(path) => ok(&self.list(path, query)),
            "PATCH" => {
                let manager = query
                    .split('&')
                    .find_map(|one| one.strip_prefix("fieldManager="));
                let object = serde_json::from_slice(&seen.body).unwrap();
                let manager = manager.unwrap_or("unknown");
                self.patch(path, &object, manager, has("force=true"), has("dryRun=All"))
            }
            "DELETE" if self.objects.remove(path).is_some() => {
                self.written.push(path.to_owned());
                ok(&json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }))
            }
            _ => status(404, "NotFound", &format!("{path} not found")),
        }
    }

    /// Returns the reason why a server refuses an object, whoever sends it.
    fn refusal(&self, path: &str, before: &Value, config: &Value) -> Option<Answer> {
        let name = &config["metadata"]["name"];
        let space = path
            .split("/namespaces/")
            .nth(1)
            .and_then(|rest| rest.split_once('/'));
        if let Some((space, _)) = space.filter(|(space, _)| self.absent.contains(*space)) {
            let message = format!("namespaces {space:?} not found");
            return Some(status(404, "NotFound", &message));
        }
        let mut reasons = Vec::new();
        for number in ["parallelism", "replicas"] {
            let is_negative = |number: i64| number < 0;
            if config["spec"][number].as_i64().is_some_and(is_negative) {
                let reason = "must be greater than or equal to 0";
                reasons.push(format!("spec.{number}: Invalid value: {reason}"));
            }
        }
        let template = |object: &Value| object["spec"]["template"].clone();
        if config["kind"] == "Job" && !before.is_null() && template(before) != template(config) {
            // Servers print the whole template, which is long.
            let value = "x".repeat(LONG_VALUE);
            reasons.push(format!(
                "spec.template: Invalid value: {{{value}}}: field is immutable"
            ));
        }
        let reasons = reasons.join(", ");
        let message = format!("{} {name} is invalid: {reasons}", config["kind"]);
        (!reasons.is_empty()).then(|| status(422, "Invalid", &message))
    }

    fn patch(
        &mut self,
        path: &str,
        config: &Value,
        manager: &str,
        force: bool,
        dry: bool,
    ) -> Answer {
        let before = self.objects.get(path).cloned().unwrap_or_default();
        if let Some(refusal) = self.refusal(path, &before.value, config) {
            return refusal;
        }
        match before.applied(config, manager, force, self.version + 1) {
            Err(Conflict(message)) => status(409, "Conflict", &message),
            Ok(object) if dry => ok(&object.shown()),
            Ok(object) => {
                self.written.push(path.to_owned());
                if let Some(name) = path.strip_prefix("/api/v1/namespaces/") {
                    self.absent.remove(name);
                }
                self.store(path, object);
                ok(&self.objects[path].shown())
            }
        }
    }

    fn store(&mut self, path: &str, mut object: Object) {
        self.version += 1;
        let before = self.objects.get(path).map(|object| object.value.clone());
        let before = before.unwrap_or_default();
        if before["spec"] != object.value["spec"] {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(0) + 1;
            object.value["metadata"]["generation"] = json!(generation);
        }
        object.value["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object);
    }

    fn list(&self, path: &str, query: &str) -> Value {
        let items: Vec<Value> = self
            .selected(path, query)
            .iter()
            .map(|path| self.objects[path].shown())
            .collect();
        let kind = discovery::kind_of(path).unwrap_or("Unknown");
        let group = path
            .trim_start_matches("/apis/")
            .trim_start_matches("/api/");
        let version = group.split("/namespaces").next().unwrap_or("v1");
        json!({
            "apiVersion": version, "kind": format!("{kind}List"), "items": items,
            "metadata": { "resourceVersion": self.version.to_string() },
        })
    }

    fn selected(&self, path: &str, query: &str) -> Vec<String> {
        let name = query
            .split('&')
            .find_map(|one| one.strip_prefix("fieldSelector=metadata.name%3D"));
        let below = format!("{path}/");
        let of = |object: &&String| {
            let rest = object.strip_prefix(&below);
            rest.is_some_and(|rest| name.is_none_or(|name| name == rest))
        };
        self.objects.keys().filter(of).cloned().collect()
    }

    /// Answers a watch. The controller has already done its work.
    fn watch(&mut self, path: &str, query: &str) -> Answer {
        let mut events = String::new();
        for path in self.selected(path, query) {
            self.version += 1;
            let version = self.version;
            let object = self.objects.get_mut(&path).unwrap();
            object.roll_out();
            object.value["metadata"]["resourceVersion"] = json!(version.to_string());
            events += &json!({ "type": "MODIFIED", "object": object.shown() }).to_string();
            events.push('\n');
        }
        Answer::new(200)
            .header("Content-Type", "application/json")
            .body(events)
    }
}

impl Object {
    fn applied(
        mut self,
        config: &Value,
        manager: &str,
        force: bool,
        now: u64,
    ) -> Result<Object, Conflict> {
        apply::apply(&mut self.value, &mut self.sets, config, manager, force)?;
        defaults(&mut self.value);
        self.times.insert(manager.to_owned(), now);
        Ok(self)
    }

    /// Returns the object with its managed fields.
    fn shown(&self) -> Value {
        let mut value = self.value.clone();
        let entries: Vec<Value> = self
            .sets
            .iter()
            .map(|(manager, set)| {
                let time = self.times[manager];
                json!({
                    "manager": manager, "operation": "Apply", "apiVersion": value["apiVersion"],
                    "fieldsType": "FieldsV1",
                    "time": format!("2026-01-01T{:02}:{:02}:{:02}Z", time / 3600, time / 60 % 60,
                        time % 60),
                    "fieldsV1": apply::fields(set),
                })
            })
            .collect();
        value["metadata"]["managedFields"] = json!(entries);
        value
    }

    fn roll_out(&mut self) {
        let is_broken = self.value["spec"].to_string().contains(BROKEN);
        let replicas = self.value["spec"]["replicas"].clone();
        let ready = if is_broken {
            json!(0)
        } else {
            replicas.clone()
        };
        let generation = &self.value["metadata"]["generation"];
        self.value["status"] = match self.value["kind"].as_str() {
            Some("DaemonSet") => json!({
                "observedGeneration": generation, "desiredNumberScheduled": 1,
                "updatedNumberScheduled": 1, "numberAvailable": i32::from(!is_broken),
            }),
            Some("StatefulSet") => json!({
                "observedGeneration": generation, "replicas": replicas, "readyReplicas": ready,
                "currentRevision": "1", "updateRevision": "1", "updatedReplicas": replicas,
            }),
            Some("Deployment") => json!({
                "observedGeneration": generation, "replicas": replicas, "readyReplicas": ready,
                "updatedReplicas": replicas, "availableReplicas": ready,
            }),
            _ => return,
        };
    }
}

/// Adds the fields that a server fills in.
fn defaults(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let strategy = match kind.as_str() {
        "Deployment" => "strategy",
        "DaemonSet" | "StatefulSet" => "updateStrategy",
        _ => return,
    };
    let mut default = |pointer: [&str; 2], value: Value| {
        let field = &mut object[pointer[0]][pointer[1]];
        if field.is_null() {
            *field = value;
        }
    };
    if kind != "DaemonSet" {
        default(["spec", "replicas"], json!(1));
    }
    default(["spec", "revisionHistoryLimit"], json!(10));
    default(["spec", strategy], json!({ "type": "RollingUpdate" }));
    default(
        ["metadata", "uid"],
        json!("00000000-0000-0000-0000-000000000001"),
    );
    let containers = object["spec"]["template"]["spec"]["containers"].as_array_mut();
    for container in containers.into_iter().flatten() {
        if container["imagePullPolicy"].is_null() {
            container["imagePullPolicy"] = json!("IfNotPresent");
        }
    }
}

fn is_list(path: &str) -> bool {
    discovery::kind_of(path).is_some()
}

fn ok(document: &Value) -> Answer {
    Answer::new(200)
        .header("Content-Type", "application/json")
        .body(document.to_string())
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    let document = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason,
        "message": message,
    });
    Answer::new(code)
        .header("Content-Type", "application/json")
        .body(document.to_string())
}
