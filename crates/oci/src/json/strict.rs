//! Reads JSON in the one way that all readers agree on.
//!
//! Go's `encoding/json`, which engines use, takes a field whose name differs in case only, and the
//! last one wins. serde ignores such a field. So a document with `manifests` and `Manifests` would
//! be one image here and another one in an engine. [`from_slice`] refuses it.
//! <https://pkg.go.dev/encoding/json#Unmarshal>

use std::fmt;

use serde::Deserialize;
use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer,
    MapAccess, SeqAccess, Visitor,
};

/// Reads a document.
///
/// # Errors
/// When the text is not JSON or not in the type's form, or a field's name differs from one of the
/// type's fields in case only.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let document = T::deserialize(Strict(&mut deserializer))?;
    deserializer.end()?;
    Ok(document)
}

/// A deserializer, a seed or a sequence whose values are read strictly.
struct Strict<T>(T);

/// A visitor whose values are read strictly.
struct Values<V> {
    visitor: V,
    /// The fields of the type, if it is a struct.
    fields: &'static [&'static str],
}

/// Forwards methods of a deserializer, with a visitor that reads strictly.
macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*))*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            let fields = &[];
            self.0.$method($($argument,)* Values { visitor, fields })
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Strict<D> {
    type Error = D::Error;

    forward! {
        deserialize_any() deserialize_bool() deserialize_char() deserialize_str()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_string() deserialize_bytes()
        deserialize_byte_buf() deserialize_option() deserialize_unit() deserialize_seq()
        deserialize_map() deserialize_identifier() deserialize_ignored_any()
        deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_tuple(length: usize)
        deserialize_tuple_struct(name: &'static str, length: usize)
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = Values { visitor, fields };
        self.0.deserialize_struct(name, fields, visitor)
    }
}

/// Forwards methods of a visitor for values that hold no others.
macro_rules! visit {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Values<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str)
        visit_borrowed_str(&'de str) visit_string(String)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Strict(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Strict(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, values: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Strict(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<V::Value, A::Error> {
        let fields = self.fields;
        self.visitor.visit_map(Entries { entries, fields })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variants: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(variants)
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Strict<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(Strict(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Strict<A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(Strict(seed))
    }
}

/// The entries of an object whose type has these fields.
struct Entries<A> {
    entries: A,
    fields: &'static [&'static str],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let fields = self.fields;
        self.entries.next_key_seed(Key { seed, fields })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        self.entries.next_value_seed(Strict(seed))
    }
}

/// The key of an entry.
struct Key<K> {
    seed: K,
    fields: &'static [&'static str],
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<K> {
    type Value = K::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<K::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if let Some(field) = mistaken(&key, self.fields) {
            return Err(D::Error::custom(format_args!(
                "the field {key:?} is not {field:?}, but some programs take it for that"
            )));
        }
        let key: StringDeserializer<D::Error> = key.into_deserializer();
        self.seed.deserialize(key)
    }
}

/// Returns the field that Go takes a key for, although the key has another name.
fn mistaken(key: &str, fields: &[&'static str]) -> Option<&'static str> {
    let is_like = |field: &&&str| key.chars().map(folded).eq(field.chars().map(folded));
    let field = fields.iter().find(is_like).copied();
    field.filter(|_| !fields.contains(&key))
}

/// Returns one character for all that Go takes for the same one in names of ASCII characters. Two
/// others are among them: the long s and the sign for kelvin.
fn folded(character: char) -> char {
    match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageConfig, Index, Manifest};

    /// Asserts that a document is read, and that it is refused with each replacement.
    fn refuses<T: DeserializeOwned>(document: &str, replacements: &[(&str, &str)]) {
        from_slice::<T>(document.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        for (old, new) in replacements {
            let other = document.replacen(old, new, 1);
            assert_ne!(other, document);
            let error = from_slice::<T>(other.as_bytes()).err();
            let error = error.unwrap_or_else(|| panic!("{other} is read"));
            assert!(error.to_string().contains("some programs"), "{error}");
        }
    }

    #[test]
    fn a_field_that_go_takes_for_another_is_refused() {
        let digest = crate::Digest::of(b"");
        let descriptor = format!(
            r#"{{"mediaType":"x","digest":"{digest}","size":0,"annotations":{{"Digest":"1"}},
                "platform":{{"os":"linux","architecture":"amd64"}}}}"#
        );
        refuses::<Index>(
            &format!(r#"{{"schemaVersion":2,"unknown":[{{}}],"manifests":[{descriptor}]}}"#),
            &[
                ("unknown", "Manifests"),
                ("unknown", "manife\u{17f}ts"),
                ("unknown", "\\u004danifests"),
                ("\"manifests", "\"MANIFESTS"),
                ("\"size\"", "\"size\":0,\"Size\""),
                ("\"os\"", "\"os\":\"a\",\"oS\""),
            ],
        );
        refuses::<Manifest>(
            &format!(r#"{{"schemaVersion":2,"config":{descriptor},"layers":[{descriptor}]}}"#),
            &[
                ("\"layers", "\"layers\":[],\"Layers"),
                ("\"mediaType", "\"mediatype"),
            ],
        );
        refuses::<ImageConfig>(
            r#"{"os":"linux","architecture":"amd64","config":{"Cmd":["a"],"Labels":{"cmd":"b"}},
                "rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"x"}]}"#,
            &[
                ("\"os\"", "\"os\":\"a\",\"OS\""),
                ("\"Cmd\"", "\"cmd\""),
                ("\"Cmd\"", "\"Cmd\":[],\"entrypoint\""),
                ("\"diff_ids\"", "\"diff_ids\":[],\"Diff_Ids\""),
                ("\"created_by\"", "\"Created_by\""),
            ],
        );
    }
}
