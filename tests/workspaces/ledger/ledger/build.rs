use std::{env, fs, path::Path};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(from_build_script)");
    println!("cargo::rustc-cfg=from_build_script");
    println!(
        "cargo::rustc-env=LEDGER_HEADER={}",
        env::var("DEP_CHECKSUM_HEADER_NAME").unwrap()
    );
    let out = env::var("OUT_DIR").unwrap();
    let sql = fs::read_to_string("sql/entries.sql").unwrap();
    fs::write(
        Path::new(&out).join("tables.rs"),
        format!("pub const SQL: &str = {sql:?};"),
    )
    .unwrap();
    println!("cargo::rerun-if-changed=sql/entries.sql");
}
