//! Keys in PKCS #11 tokens: smart cards, hardware security modules, SoftHSM.
//!
//! The module of a token is a shared library, which `cryptoki` loads into this process.

mod uri;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Failure, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{AnyRef, OctetStringRef};

use super::algorithm::Algorithm;
use super::{KINDS, Keeper, Variables, der, trouble};
use crate::{Error, PublicKey};
use uri::Uri;

const MODULE: &str = "COSIGN_PKCS11_MODULE_PATH";
const PIN: &str = "COSIGN_PKCS11_PIN";
/// The prefix of the message that RSA signs for SHA-256 (RFC 8017, section 9.2). The digest
/// follows.
const SHA256_INFO: &[u8] = &[
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];

/// A private key in a token, with a session that may use it.
pub(super) struct TokenKey {
    name: String,
    session: Mutex<Session>,
    key: ObjectHandle,
}

/// Finds a key in a token. `name` is the reference without its query.
///
/// # Errors
/// When the module, the token or the key is missing, or the token refuses the PIN.
pub(super) fn open(
    name: &str,
    reference: &str,
    variables: &Variables<'_>,
) -> Result<(TokenKey, PublicKey), Error> {
    let uri = Uri::parse(reference).map_err(|reason| {
        let form = "pkcs11:token=TOKEN;object=LABEL?module-path=/usr/lib/…/module.so";
        trouble(name, reason, form)
    })?;
    let module = module(name, &uri, variables)?;
    let context = load(name, &module)?;
    let (slot, token) = find_token(name, &uri, &context)?;
    let failed = |failure| refused(name, &failure);
    let session = context.open_ro_session(slot).map_err(failed)?;
    if token.login_required() {
        log_in(name, &session, &token, pin(name, &uri, variables)?)?;
    }
    let key = find_key(name, &uri, &session, &module)?;
    let public = public_key(name, &session, key)?;
    let key = TokenKey {
        name: name.to_owned(),
        session: Mutex::new(session),
        key,
    };
    Ok((key, public))
}

impl Keeper for TokenKey {
    fn sign(&self, algorithm: Algorithm, digest: &[u8]) -> Result<Vec<u8>, Error> {
        let session = self.session.lock().unwrap_or_else(|it| it.into_inner());
        let sign = |mechanism: &Mechanism<'_>, data: &[u8]| {
            let signature = session.sign(mechanism, self.key, data);
            signature.map_err(|failure| refused(&self.name, &failure))
        };
        if algorithm == Algorithm::Rsa {
            return sign(&Mechanism::RsaPkcs, &[SHA256_INFO, digest].concat());
        }
        let both = sign(&Mechanism::Ecdsa, digest)?;
        der::ecdsa(&both).map_err(|error| {
            let reason = format!("its signature is not a pair of numbers: {error}");
            trouble(&self.name, reason, "another module for this token")
        })
    }
}

fn module(name: &str, uri: &Uri, variables: &Variables<'_>) -> Result<PathBuf, Error> {
    let module = uri.module.clone();
    let module = module.or_else(|| variables(MODULE).map(PathBuf::from));
    match module {
        Some(module) if module.is_absolute() => Ok(module),
        Some(_) => Err(trouble(
            name,
            "the path of the PKCS #11 module is not absolute",
            "module-path=/usr/lib/…/module.so",
        )),
        None => Err(trouble(
            name,
            "the PKCS #11 module is not named",
            format!("?module-path=/usr/lib/…/module.so, or {MODULE}=…"),
        )),
    }
}

fn load(name: &str, module: &Path) -> Result<Pkcs11, Error> {
    let cannot = |failure: Failure| {
        // The loader's message names the file.
        let reason = format!("cannot load {}: {failure}", module.display());
        trouble(name, reason, "the module-path of a PKCS #11 module")
    };
    let context = Pkcs11::new(module).map_err(cannot)?;
    let arguments = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    match context.initialize(arguments) {
        // Another key of this module is open.
        Ok(()) | Err(Failure::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(context),
        Err(failure) => Err(cannot(failure)),
    }
}

/// Finds the only token that fits.
fn find_token(name: &str, uri: &Uri, context: &Pkcs11) -> Result<(Slot, TokenInfo), Error> {
    let failed = |failure| refused(name, &failure);
    let mut labels = Vec::new();
    let mut found = Vec::new();
    for slot in context.get_slots_with_token().map_err(failed)? {
        let token = context.get_token_info(slot).map_err(failed)?;
        labels.push(format!("{:?}", token.label()));
        let fits = |wanted: &Option<String>, own: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == own)
        };
        if fits(&uri.token, token.label())
            && fits(&uri.serial, token.serial_number())
            && fits(&uri.model, token.model())
            && fits(&uri.manufacturer, token.manufacturer_id())
            && uri.slot.is_none_or(|wanted| wanted == slot.id())
        {
            found.push((slot, token));
        }
    }
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(trouble(
            name,
            "the module has no such token",
            format!("one of the tokens {}", labels.join(", ")),
        )),
        several => Err(trouble(
            name,
            format!("{several} tokens fit"),
            "slot-id=NUMBER or serial=…, which tell them apart",
        )),
    }
}

fn pin(name: &str, uri: &Uri, variables: &Variables<'_>) -> Result<Option<AuthPin>, Error> {
    let from_file = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let reason = format!("cannot read the PIN from {}: {error}", file.display());
            trouble(name, reason, "pin-source=file:/… with a file of one line")
        });
        text.map(|text| text.trim_end_matches(['\n', '\r']).to_owned())
    };
    let file = uri.pin_file.as_ref().map(from_file).transpose()?;
    let pin = uri.pin.clone().or(file).or_else(|| variables(PIN));
    Ok(pin.map(AuthPin::from))
}

fn log_in(
    name: &str,
    session: &Session,
    token: &TokenInfo,
    pin: Option<AuthPin>,
) -> Result<(), Error> {
    // A token with a keypad of its own asks for the PIN itself.
    if pin.is_none() && !token.protected_authentication_path() {
        return Err(trouble(
            name,
            "the token wants a PIN",
            format!("{PIN}=…, or ?pin-source=file:/…"),
        ));
    }
    match session.login(UserType::User, pin.as_ref()) {
        // Another session with this token logged in.
        Ok(()) | Err(Failure::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(Failure::Pkcs11(RvError::PinIncorrect, _)) => {
            let remedy = format!("{PIN}=… with the right one; a token locks itself after a few");
            Err(trouble(name, "the token refuses the PIN", remedy))
        }
        Err(failure) => Err(refused(name, &failure)),
    }
}

/// Finds the only private key that fits.
fn find_key(
    name: &str,
    uri: &Uri,
    session: &Session,
    module: &Path,
) -> Result<ObjectHandle, Error> {
    let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let label = uri.object.clone().map(String::into_bytes);
    wanted.extend(label.map(Attribute::Label));
    wanted.extend(uri.id.clone().map(Attribute::Id));
    let found = session.find_objects(&wanted);
    match found.map_err(|failure| refused(name, &failure))?[..] {
        [key] => Ok(key),
        [] => Err(trouble(
            name,
            "the token has no such private key",
            format!(
                "pkcs11-tool --module {} --login --list-objects",
                module.display()
            ),
        )),
        ref several => Err(trouble(
            name,
            format!("{} private keys fit", several.len()),
            "object=… and id=…, which tell them apart",
        )),
    }
}

/// Returns the public key of a private key. The token has it as an object with the same identifier.
fn public_key(name: &str, session: &Session, key: ObjectHandle) -> Result<PublicKey, Error> {
    let failed = |failure| refused(name, &failure);
    let own = [
        AttributeType::AlwaysAuthenticate,
        AttributeType::Id,
        AttributeType::Label,
    ];
    let own = session.get_attributes(key, &own).map_err(failed)?;
    if own.contains(&Attribute::AlwaysAuthenticate(true)) {
        return Err(trouble(
            name,
            "the key wants its PIN before each signature, which is not supported",
            "a key without CKA_ALWAYS_AUTHENTICATE",
        ));
    }
    let is_empty = |it: &Attribute| match it {
        Attribute::Id(bytes) | Attribute::Label(bytes) => bytes.is_empty(),
        _ => false,
    };
    let mut wanted = vec![Attribute::Class(ObjectClass::PUBLIC_KEY)];
    let same = own.into_iter().filter(|it| !is_empty(it));
    wanted.extend(same.filter(|it| !matches!(it, Attribute::AlwaysAuthenticate(_))));
    let public = session.find_objects(&wanted).map_err(failed)?;
    let Some(public) = public.first() else {
        return Err(trouble(
            name,
            "the token has no public key for it",
            "to write the public key into the token, with the same label and identifier",
        ));
    };
    let parts = [
        AttributeType::EcParams,
        AttributeType::EcPoint,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
    ];
    let parts = session.get_attributes(*public, &parts).map_err(failed)?;
    let unknown = || trouble(name, "its kind can't sign here", KINDS);
    let der = subject_public_key(&parts).ok_or_else(unknown)?;
    PublicKey::from_der(&der)
}

/// Returns the `SubjectPublicKeyInfo` of a key with these attributes, in DER.
fn subject_public_key(parts: &[Attribute]) -> Option<Vec<u8>> {
    let (mut curve, mut point, mut modulus, mut exponent) = (None, None, None, None);
    for part in parts {
        match part {
            Attribute::EcParams(bytes) => curve = Some(bytes),
            Attribute::EcPoint(bytes) => point = Some(bytes),
            Attribute::Modulus(bytes) => modulus = Some(bytes),
            Attribute::PublicExponent(bytes) => exponent = Some(bytes),
            _ => {}
        }
    }
    if let (Some(modulus), Some(exponent)) = (modulus, exponent) {
        return der::rsa_key(modulus, exponent).ok();
    }
    let point = point?;
    // The standard wraps the point in an octet string. Some modules do not, and a plain point can
    // look like an octet string: both begin with 4.
    let wrapped = OctetStringRef::from_der(point).ok().map(|it| it.as_bytes());
    let is_point = |it: &&[u8]| it.first() == Some(&4) && [65, 97].contains(&it.len());
    let point = wrapped.filter(is_point).unwrap_or(&point[..]);
    let curve = AnyRef::from_der(curve?).ok()?;
    der::ec_key(curve, point).ok()
}

fn refused(name: &str, failure: &Failure) -> Error {
    trouble(
        name,
        format!("the token refuses: {failure}"),
        "the PIN, the key's permission to sign (CKA_SIGN), and the module's own log",
    )
}
