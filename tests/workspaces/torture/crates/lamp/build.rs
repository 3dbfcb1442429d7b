fn main() {
    let of = |name: &str| std::env::var(name).unwrap();
    println!("cargo::rustc-env=LAMP={} W, {}", of("DEP_LAMP_WATTS"), of("DEP_LAMP_COLOUR"));
    println!("cargo::rustc-check-cfg=cfg(lamp_is_lit)");
    println!("cargo::rustc-cfg=lamp_is_lit");
}
