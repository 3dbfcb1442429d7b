//! Paths in images and in the workspace.

/// An absolute path inside an image, as short as it can be written.
pub(crate) fn image_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("is not absolute; paths inside an image begin with `/`".to_string());
    }
    if text.contains('\0') {
        return Err("holds a zero byte".to_string());
    }
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

/// `/a/./b//c/../d` is `/a/b/d`.
fn normal_path(text: &str) -> String {
    format!("/{}", join_within("", text).unwrap_or_default())
}

/// A path of the workspace, relative to its root and as short as it can be written.
pub(crate) fn workspace_path(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("is empty".to_string());
    }
    if text.starts_with('/') {
        return Err("is absolute; sources are named relative to the workspace's root".to_string());
    }
    join_within("", text)
        .ok_or_else(|| "leaves the workspace; only files inside it can be used".to_string())
}

/// `relative` from `directory`, both of the workspace; nothing where the way leads out of it.
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

/// The last part of a path.
pub fn last_part(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A path below a directory that is known only to a build, as short as it can be written.
pub(crate) fn inner_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') {
        return Err("is absolute; write a relative path".to_string());
    }
    // `=` and line breaks separate such paths where they are handed to a unit.
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
