unsafe extern "C" {
    fn ldexp(number: f64, exponent: i32) -> f64;
}

pub fn chimes() -> f64 {
    unsafe { ldexp(std::hint::black_box(3.0), 2) }
}
