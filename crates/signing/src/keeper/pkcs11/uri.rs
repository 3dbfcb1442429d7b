//! Reads references to objects of PKCS #11 tokens ([RFC
//! 7512](https://www.rfc-editor.org/rfc/rfc7512)).

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

/// A reference to a private key. `None` stands for an attribute that may have any value.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Uri {
    /// The token's label.
    pub token: Option<String>,
    /// The token's manufacturer.
    pub manufacturer: Option<String>,
    /// The token's model.
    pub model: Option<String>,
    /// The token's serial number.
    pub serial: Option<String>,
    /// The number of the token's slot.
    pub slot: Option<u64>,
    /// The key's label, CKA_LABEL.
    pub object: Option<String>,
    /// The key's identifier, CKA_ID.
    pub id: Option<Vec<u8>>,
    /// The file of the PKCS #11 module.
    pub module: Option<PathBuf>,
    /// The PIN.
    pub pin: Option<String>,
    /// A file with the PIN.
    pub pin_file: Option<PathBuf>,
}

impl Uri {
    /// Reads a reference, `pkcs11:` included.
    ///
    /// # Errors
    /// Names the attribute that is wrong, and never quotes a PIN.
    pub(super) fn parse(text: &str) -> Result<Uri, String> {
        let text = text.strip_prefix("pkcs11:").unwrap_or(text);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut uri = Uri::default();
        for attribute in path.split(';').filter(|it| !it.is_empty()) {
            uri.set_path(attribute)?;
        }
        // cosign separates the attributes of the query by semicolons too.
        for attribute in query.split(['&', ';']).filter(|it| !it.is_empty()) {
            uri.set_query(attribute)?;
        }
        match uri {
            Uri {
                object: None,
                id: None,
                ..
            } => Err("it names no key: object or id is missing".to_owned()),
            Uri {
                token: None,
                serial: None,
                slot: None,
                ..
            } => Err("it names no token: token, serial or slot-id is missing".to_owned()),
            Uri {
                pin: Some(_),
                pin_file: Some(_),
                ..
            } => Err("it has both pin-value and pin-source".to_owned()),
            uri => Ok(uri),
        }
    }

    fn set_path(&mut self, attribute: &str) -> Result<(), String> {
        let (name, bytes) = split(attribute)?;
        let value = || text(name, bytes.clone());
        match name {
            "token" => once(name, &mut self.token, value()?),
            "manufacturer" => once(name, &mut self.manufacturer, value()?),
            "model" => once(name, &mut self.model, value()?),
            "serial" => once(name, &mut self.serial, value()?),
            "object" => once(name, &mut self.object, value()?),
            "id" => once(name, &mut self.id, bytes.clone()),
            "slot-id" => {
                let number = value()?.parse();
                once(
                    name,
                    &mut self.slot,
                    number.map_err(|_| "slot-id is not a number")?,
                )
            }
            "type" if value()? == "private" => Ok(()),
            "type" => Err("type is not private".to_owned()),
            _ => Err(format!("the attribute {name:?} is not supported")),
        }
    }

    fn set_query(&mut self, attribute: &str) -> Result<(), String> {
        let name = attribute.split('=').next().unwrap_or_default();
        let value = || split(attribute).and_then(|(name, bytes)| text(name, bytes));
        match name {
            "module-path" => once(name, &mut self.module, value()?.into()),
            "pin-value" => once(name, &mut self.pin, value()?),
            "pin-source" => {
                let value = value()?;
                let file = value.strip_prefix("file:").unwrap_or(&value);
                let file = file.strip_prefix("//").unwrap_or(file);
                match file.starts_with('/') {
                    true => once(name, &mut self.pin_file, file.into()),
                    false => Err("pin-source is neither an absolute path nor a file:".to_owned()),
                }
            }
            // An unknown name may be the rest of a PIN whose separators are not encoded.
            _ => Err("its query has more than module-path, pin-value, pin-source".to_owned()),
        }
    }
}

/// Returns the name and the decoded value of an attribute.
fn split(attribute: &str) -> Result<(&str, Vec<u8>), String> {
    let missing = || "an attribute has no value".to_owned();
    let (name, value) = attribute.split_once('=').ok_or_else(missing)?;
    let digits = |rest: &str| {
        let digits = rest.get(..2);
        digits.is_some_and(|it| it.chars().all(|digit| digit.is_ascii_hexdigit()))
    };
    if !value.split('%').skip(1).all(digits) {
        return Err(format!("the percent encoding of {name} is damaged"));
    }
    Ok((name, percent_decode_str(value).collect()))
}

fn text(name: &str, bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is there twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::Uri;

    #[test]
    fn all_attributes_are_read() {
        let uri = Uri::parse(
            "pkcs11:token=The%20Token;manufacturer=Ann;model=m;serial=7f;slot-id=12;object=release;\
             id=%01%ff;type=private?module-path=/usr/lib/p11.so&pin-source=file:/run/pin",
        );
        let wanted = Uri {
            token: Some("The Token".to_owned()),
            manufacturer: Some("Ann".to_owned()),
            model: Some("m".to_owned()),
            serial: Some("7f".to_owned()),
            slot: Some(12),
            object: Some("release".to_owned()),
            id: Some(vec![1, 255]),
            module: Some("/usr/lib/p11.so".into()),
            pin: None,
            pin_file: Some("/run/pin".into()),
        };
        assert!(uri.is_ok_and(|uri| uri == wanted));
        let uri = Uri::parse("pkcs11:token=a;object=b?pin-value=12%2634;module-path=/p.so");
        let pin = uri.ok().and_then(|uri| uri.pin);
        assert_eq!(pin.as_deref(), Some("12&34"));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, said) in [
            ("pkcs11:token=a", "names no key"),
            ("pkcs11:object=a", "names no token"),
            ("pkcs11:token=a;token=b;object=c", "token is there twice"),
            (
                "pkcs11:token=a;object=c;slot-id=x",
                "slot-id is not a number",
            ),
            ("pkcs11:token=a;object=c;type=cert", "type is not private"),
            (
                "pkcs11:token=a;object=%c",
                "percent encoding of object is damaged",
            ),
            (
                "pkcs11:token=a;object=%+1",
                "percent encoding of object is damaged",
            ),
            ("pkcs11:token=a;object=%ff", "object is not UTF-8"),
            ("pkcs11:token=a;object", "has no value"),
            ("pkcs11:token=a;object=c;x-own=d", "\"x-own\""),
            (
                "pkcs11:token=a;object=c?module-name=d",
                "its query has more than module-path",
            ),
            (
                "pkcs11:token=a;object=c?pin-source=pin",
                "neither an absolute path",
            ),
            (
                "pkcs11:token=a;object=c?pin-source=|pinentry",
                "neither an absolute path",
            ),
            (
                "pkcs11:token=a;object=c?pin-source=/a&pin-value=1",
                "both pin-value and pin-source",
            ),
        ] {
            match Uri::parse(text) {
                Err(error) => assert!(error.contains(said), "{text}: {error}"),
                Ok(_) => panic!("{text} is read"),
            }
        }
    }
}
