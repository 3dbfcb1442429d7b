//! The text of a lock: sorted JSON with one package a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use super::Lock;

impl Lock {
    /// Returns the lock's text. The same lock always gives the same bytes.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{{")?;
        writeln!(out, "  \"version\": {},", self.version)?;
        let suites: Vec<String> = self
            .suites
            .iter()
            .map(|s| format!("    {}", json(s)))
            .collect();
        writeln!(out, "  \"suites\": [\n{}\n  ],", suites.join(",\n"))?;
        writeln!(out, "  \"snapshot\": {},", json(&self.snapshot))?;
        let sets: Vec<String> = self
            .sets
            .iter()
            .map(|(name, set)| set_text(name, set))
            .collect();
        writeln!(out, "  \"sets\": {{\n{}\n  }},", sets.join(",\n"))?;
        if !self.omitted.is_empty() {
            writeln!(out, "  \"omitted\": {{\n{}\n  }},", entries(&self.omitted))?;
        }
        writeln!(out, "  \"packages\": {{\n{}\n  }}", entries(&self.packages))?;
        writeln!(out, "}}")
    }
}

fn set_text(name: &str, set: &BTreeMap<String, Vec<String>>) -> String {
    let architectures: Vec<String> = set
        .iter()
        .map(|(architecture, keys)| {
            let keys: Vec<String> = keys
                .iter()
                .map(|key| format!("        {}", json(key)))
                .collect();
            match keys.is_empty() {
                true => format!("      {}: []", json(architecture)),
                false => format!(
                    "      {}: [\n{}\n      ]",
                    json(architecture),
                    keys.join(",\n")
                ),
            }
        })
        .collect();
    format!(
        "    {}: {{\n{}\n    }}",
        json(name),
        architectures.join(",\n")
    )
}

fn entries<T: Serialize>(map: &BTreeMap<String, T>) -> String {
    let lines: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("    {}: {}", json(key), json(value)))
        .collect();
    lines.join(",\n")
}

/// Formats a value as JSON on one line, with a space after each colon and comma.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, OneLine);
    // These types hold only strings, numbers and lists, so writing JSON cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(out).unwrap_or_default()
}

struct OneLine;

impl serde_json::ser::Formatter for OneLine {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}
