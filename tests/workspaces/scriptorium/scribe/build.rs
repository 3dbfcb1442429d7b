use std::fs;
use std::io::Write;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").unwrap();
    // Into the package's own directory, beside and over what is there.
    fs::create_dir_all("src/generated").unwrap();
    fs::write("src/generated/mod.rs", "pub const SAYS: &str = \"generated into src\";\n").unwrap();
    let stale = fs::read_to_string("src/stale.rs").unwrap();
    fs::write("src/stale.rs", stale.replace("stale", "fresh")).unwrap();
    fs::remove_file("src/unwanted.rs").unwrap();
    // A copy of a source can be written to.
    let table = format!("{out}/table.rs");
    fs::copy("data/head.rs", &table).unwrap();
    let mut table = fs::OpenOptions::new().append(true).open(table).unwrap();
    table.write_all(b"pub const TAIL: u8 = 2;\n").unwrap();
    // A header of a package below.
    let include = std::env::var("DEP_INK_INCLUDE").unwrap();
    run("cc", &["-c", "-I", &include, "c/page.c", "-o", &format!("{out}/page.o")]);
    run("ar", &["crD", &format!("{out}/libpage.a"), &format!("{out}/page.o")]);
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=page");
    // Tools of packages below: one lies in its package, one was made by its build script.
    for (name, tool) in [("QUILL", quill::TOOL), ("STAMP", stamp_src::stamp())] {
        println!("cargo::rustc-env={name}={}", run("sh", &[tool, "scribe"]).trim_end());
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
