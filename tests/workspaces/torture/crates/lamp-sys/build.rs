fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/lamp.c"), "int lamp_light(void) { return 60; }\n").unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let status = std::process::Command::new(program).args(arguments).current_dir(&out).status();
        assert!(status.unwrap().success());
    };
    run("cc", &["-O1", "-c", "lamp.c", "-o", "lamp.o"]);
    run("ar", &["crD", "liblamp.a", "lamp.o"]);
    println!("cargo::rustc-link-search=native={out}");
    println!("cargo::rustc-link-lib=static=lamp");
    println!("cargo::metadata=watts=60");
    println!("cargo:colour=warm white");
}
