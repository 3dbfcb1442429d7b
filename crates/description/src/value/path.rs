//! Paths in images and in the workspace.

/// Checks an absolute path inside an image, which must be in its shortest form.
pub(crate) fn image_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("is not absolute; paths inside an image begin with `/`".to_string());
    }
    no_control_character(text)?;
    let parts = text[1..].trim_end_matches('/').split('/');
    if text != "/"
        && (text.ends_with("//") || parts.clone().any(|part| ["", ".", ".."].contains(&part)))
    {
        let clean = normal_path(text);
        return Err(format!("is not in its shortest form; write `{clean}`"));
    }
    match parts.clone().next() {
        Some(top @ ("proc" | "sys" | "dev")) => Err(format!(
            "would be hidden: engines mount their own `/{top}` over it"
        )),
        _ => Ok(()),
    }
}

/// Refuses line breaks and other control characters: neither a line of a Dockerfile nor a list of
/// files can have such a path or reference.
pub(crate) fn no_control_character(text: &str) -> Result<(), String> {
    match text.contains(char::is_control) {
        true => Err("holds a control character".to_string()),
        false => Ok(()),
    }
}

/// Shortens an absolute path: `/a/./b//c/../d` becomes `/a/b/d`.
fn normal_path(text: &str) -> String {
    format!("/{}", join_within("", text).unwrap_or_default())
}

/// Reads a path of the workspace, and returns it relative to its root, in its shortest form.
pub(crate) fn workspace_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_string());
    }
    if text.starts_with('/') {
        return Err("is absolute; sources are named relative to the workspace's root".to_string());
    }
    no_control_character(text)?;
    join_within("", text)
        .ok_or_else(|| "leaves the workspace; only files inside it can be used".to_string())
}

/// Joins `relative` to `directory`, both of the workspace; returns `None` if the path leads out of
/// it.
pub fn join_within(directory: &str, relative: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(relative.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Returns the last part of a path.
pub fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Reads a path below a directory that only a build knows, and returns it in its shortest form.
pub(crate) fn inner_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Err("is absolute; write a relative path".to_string());
    }
    // `=` and line breaks separate these paths when they are handed to a unit.
    if text.contains(|c: char| c == '=' || c.is_control()) {
        return Err("holds `=` or a control character".to_string());
    }
    match join_within("", text) {
        Some(path) if path.is_empty() => {
            Err("names the directory itself; name a path in it".into())
        }
        Some(path) => Ok(path),
        None => Err("leads out of the directory that it is relative to".to_string()),
    }
}
