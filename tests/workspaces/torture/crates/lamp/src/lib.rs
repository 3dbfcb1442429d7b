pub fn light() -> String {
    let light = unsafe { lamp_sys::lamp_light() };
    format!("{light} {} {}", env!("LAMP"), cfg!(lamp_is_lit))
}
