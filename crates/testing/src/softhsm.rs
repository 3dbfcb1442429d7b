//! A token of SoftHSM, Debian's `softhsm2`, in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The PIN of the tests' tokens.
pub const PIN: &str = "4711 0815";
/// The label of the tests' tokens.
pub const TOKEN: &str = "The Token";

/// A token with keys.
pub struct SoftHsm {
    directory: tempfile::TempDir,
    module: PathBuf,
}

impl SoftHsm {
    /// Makes a token, if SoftHSM is installed.
    pub fn new() -> Option<SoftHsm> {
        let modules = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        ];
        let module = modules.into_iter().map(PathBuf::from);
        let token = SoftHsm {
            directory: tempfile::tempdir().unwrap(),
            module: module.into_iter().find(|module| module.is_file())?,
        };
        let tokens = token.directory.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let settings = format!("directories.tokendir = {}\n", tokens.display());
        std::fs::write(token.settings(), settings).unwrap();
        token.util(&[
            "--init-token",
            "--free",
            "--label",
            TOKEN,
            "--so-pin",
            "0000",
            "--pin",
            PIN,
        ]);
        Some(token)
    }

    /// Returns the value of `SOFTHSM2_CONF` for programs that use the token.
    pub fn settings(&self) -> PathBuf {
        self.directory.path().join("softhsm2.conf")
    }

    /// Returns the PKCS #11 module.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Puts a key pair into the token. `id` is in hexadecimal digits, `pem` a file that openssl
    /// reads.
    pub fn import(&self, label: &str, id: &str, pem: &Path) {
        let pkcs8 = self.directory.path().join("key.pem");
        let mut convert = Command::new("openssl");
        convert
            .arg("pkey")
            .arg("-in")
            .arg(pem)
            .arg("-out")
            .arg(&pkcs8);
        succeeds(&mut convert);
        let file = pkcs8.to_str().unwrap();
        self.util(&[
            "--import", file, "--token", TOKEN, "--label", label, "--id", id, "--pin", PIN,
        ]);
    }

    /// Returns the reference to a key, without the PIN.
    pub fn reference(&self, label: &str) -> String {
        let token = TOKEN.replace(' ', "%20");
        let module = self.module.display();
        format!("pkcs11:token={token};object={label}?module-path={module}")
    }

    fn util(&self, arguments: &[&str]) {
        let mut util = Command::new("softhsm2-util");
        succeeds(util.args(arguments).env("SOFTHSM2_CONF", self.settings()));
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}
