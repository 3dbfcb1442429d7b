mod generated;
mod stale;

include!(concat!(env!("OUT_DIR"), "/table.rs"));

unsafe extern "C" {
    fn page_shades() -> i32;
}

fn main() {
    println!("{}", generated::SAYS);
    println!("{}", stale::SAYS);
    println!("head {HEAD} tail {TAIL}");
    println!("shades {} ink {}", unsafe { page_shades() }, unsafe { ink_sys::ink_left() });
    println!("{}", env!("QUILL"));
    println!("{}", env!("STAMP"));
    println!("{}", seal::seal!("a seal"));
    println!("chimes {}", chime_sys::chimes());
}
