//! The header `Link`: the address of a next page.
//!
//! See [RFC 8288](https://www.rfc-editor.org/rfc/rfc8288#section-3).

/// Returns the address of the link that has the relation `next`, if there is one.
///
/// # Errors
/// When the header is no list of links, so that a next page could be missed.
pub(super) fn next(header: &str) -> Result<Option<&str>, String> {
    for link in split(header, ',') {
        let mut parts = split(link, ';');
        let address = parts.next().unwrap_or_default();
        let address = address
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix('>'));
        let address = address.ok_or_else(|| {
            format!("the header Link {header:?} is not of the form <ADDRESS>; rel=\"next\"")
        })?;
        // Only the first relation counts.
        let relation = parts.find_map(|part| parameter(part, "rel"));
        let relations = relation.unwrap_or_default();
        let mut relations = relations.split_ascii_whitespace();
        if relations.any(|name| name.eq_ignore_ascii_case("next")) {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// Returns the value of a parameter `NAME=VALUE`, if it has this name.
fn parameter(part: &str, wanted: &str) -> Option<String> {
    let (name, value) = part.split_once('=')?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let value = match quoted {
        Some(inside) => inside.replace('\\', ""),
        None => value.to_owned(),
    };
    name.trim().eq_ignore_ascii_case(wanted).then_some(value)
}

/// Splits a text at a separator outside of quotes and of angle brackets. Leaves empty parts out.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    // The character that ends the quote or bracket, and whether a backslash came last.
    let (mut end, mut is_escaped) = (None, false);
    let parts = text.split(move |c: char| {
        match end {
            Some(closing) if c == closing && !is_escaped => end = None,
            Some('"') => is_escaped = c == '\\' && !is_escaped,
            Some(_) => {}
            None if c == separator => return true,
            None if c == '"' => end = Some('"'),
            None if c == '<' => end = Some('>'),
            None => {}
        }
        false
    });
    parts.map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for (header, expected) in [
            ("</a?p=2>; rel=\"next\"", Some("/a?p=2")),
            ("</a>;rel=next", Some("/a")),
            (
                "</a?p=1>; rel=\"prev\", </a?p=3>; rel=\"next\"",
                Some("/a?p=3"),
            ),
            (
                "</a?p=1,2;3>; rel=prev,</a?next>; REL = \"last Next\"",
                Some("/a?next"),
            ),
            (
                "</a>; title=\"x, \\\"<; rel=next\"; rel=\"prev\", , </b>; rel=next",
                Some("/b"),
            ),
            ("</a>; rel=\"prev\"; rel=\"next\"", None),
            ("</next>; rel=\"prev\"", None),
            ("</a>; rel=nextpage", None),
            ("</a>; next", None),
            ("", None),
        ] {
            assert_eq!(next(header), Ok(expected), "{header}");
        }
        for header in ["/a; rel=next", "</a; rel=next", "</a> rel=next"] {
            next(header).unwrap_err();
        }
    }
}
