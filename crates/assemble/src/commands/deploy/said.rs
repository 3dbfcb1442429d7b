//! The output of `assemble deploy`: lines for people, JSON for programs.

use std::collections::BTreeMap;
use std::path::Path;

use crateyard_deploy::cluster::{Change, ImageChange, Step};
use crateyard_terminal::{clean, count};
use serde::Serialize;

use crate::connection::bytes;
use crate::rollout::ship::{Sent, Shipped, sent};

/// The number of fields of an object that are listed.
const FIELDS: usize = 5;

/// The output of a run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said<'a> {
    dry_run: bool,
    images: BTreeMap<&'a str, Sent<'a>>,
    objects: Vec<Object>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<Host>,
    #[serde(skip)]
    shipped: &'a BTreeMap<String, Shipped>,
}

/// An object of a cluster.
#[derive(Serialize)]
struct Object {
    object: String,
    change: &'static str,
    images: Vec<Image>,
    fields: Vec<String>,
}

/// A container's image.
#[derive(Serialize)]
struct Image {
    container: String,
    before: String,
    after: String,
    /// The image of the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// The inputs that have changed since the image before.
    because: Vec<String>,
}

/// A compose file or a unit on this machine.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<String>,
}

impl Host {
    /// Makes the entry for a compose file, with the output of compose.
    pub fn compose(file: &Path, said: String) -> Host {
        Host {
            file: file.display().to_string(),
            changed: None,
            said: Some(said),
        }
    }

    /// Makes the entry for a unit, and records whether a different one was installed.
    pub fn unit(file: &Path, changed: bool) -> Host {
        Host {
            file: file.display().to_string(),
            changed: Some(changed),
            said: None,
        }
    }
}

impl<'a> Said<'a> {
    /// Starts the output of a run that shipped images.
    pub fn new(dry_run: bool, shipped: &'a BTreeMap<String, Shipped>) -> Self {
        Self {
            dry_run,
            images: sent(shipped),
            objects: Vec::new(),
            hosts: Vec::new(),
            shipped,
        }
    }

    /// Adds objects of a cluster. `why` explains how an image of the workspace differs from the
    /// running reference.
    pub fn add_steps(&mut self, steps: &[Step], why: impl Fn(&str, &str) -> Vec<String>) {
        for step in steps {
            let (change, images, fields) = match &step.change {
                Change::Create => ("created", Vec::new(), Vec::new()),
                Change::None => ("unchanged", Vec::new(), Vec::new()),
                Change::Update { images, fields } => {
                    let images = images.iter().map(|change| self.image(change, &why));
                    let change = if step.recreate {
                        "recreated"
                    } else {
                        "updated"
                    };
                    (change, images.collect(), fields.clone())
                }
            };
            self.objects.push(Object {
                object: step.key.to_string(),
                change,
                images,
                fields,
            });
        }
    }

    fn image(&self, change: &ImageChange, why: &impl Fn(&str, &str) -> Vec<String>) -> Image {
        let is_it = |shipped: &Shipped| change.after.ends_with(shipped.pushed.digest.as_str());
        let image = self.shipped.iter().find(|(_, shipped)| is_it(shipped));
        let image = image.map(|(name, _)| name.clone());
        let because = image.as_ref().map(|image| why(image, &change.before));
        Image {
            container: change.container.clone(),
            before: change.before.clone(),
            after: change.after.clone(),
            because: because.unwrap_or_default(),
            image,
        }
    }

    /// Adds the compose files and units of this machine.
    pub fn with_hosts(mut self, hosts: Vec<Host>) -> Self {
        self.hosts = hosts;
        self
    }

    /// Prints the output for people.
    pub fn describe(&self) -> String {
        let mut text = self.describe_images();
        for object in self
            .objects
            .iter()
            .filter(|object| object.change != "unchanged")
        {
            text += &self.describe_object(object);
        }
        let same = self
            .objects
            .iter()
            .filter(|object| object.change == "unchanged");
        match same.count() {
            0 => {}
            same => text += &format!("{} unchanged\n", count(same, "object")),
        }
        text
    }

    fn describe_images(&self) -> String {
        let mut text = String::new();
        let mut there = 0;
        for (name, shipped) in self.shipped {
            let report = &shipped.report;
            if report.unchanged {
                there += 1;
                continue;
            }
            let verb = if self.dry_run { "would push" } else { "pushed" };
            text += &format!(
                "{verb} {name}: {}, {}\n",
                shipped.reference(),
                bytes(report.bytes_sent)
            );
        }
        match there {
            0 => text,
            there => text + &format!("{} there already\n", count(there, "image")),
        }
    }

    fn describe_object(&self, object: &Object) -> String {
        let verb = match self.dry_run {
            true => object.change.trim_end_matches('d'),
            false => object.change,
        };
        let would = if self.dry_run { "would " } else { "" };
        let mut text = format!("{would}{verb} {}\n", clean(&object.object));
        for (at, image) in object.images.iter().enumerate() {
            let (before, after) = (clean(&image.before), clean(&image.after));
            text += &format!(
                "  image of {}: {before} -> {after}\n",
                clean(&image.container)
            );
            // The reasons are said once for all containers with this image.
            let mut later = object.images[at + 1..].iter();
            if later.any(|other| (&other.before, &other.after) == (&image.before, &image.after)) {
                continue;
            }
            for reason in &image.because {
                text += &format!("    {reason}\n");
            }
        }
        let shown: Vec<_> = object
            .fields
            .iter()
            .take(FIELDS)
            .map(|field| clean(field))
            .collect();
        let more = match object.fields.len().saturating_sub(FIELDS) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        if !shown.is_empty() {
            text += &format!("  other fields: {}{more}\n", shown.join(", "));
        }
        text
    }
}

/// Describes the changes on this machine, for people.
pub fn describe_hosts(hosts: &[Host]) -> String {
    let mut text = String::new();
    for host in hosts {
        let file = clean(&host.file);
        text += &match (&host.said, host.changed) {
            (Some(said), _) => format!("{file}\n{said}\n"),
            (None, Some(true)) => format!("{file} changed\n"),
            (None, _) => format!("{file} unchanged\n"),
        };
    }
    text
}
