extern crate middle;

pub fn old() -> u8 {
    let async = 1;
    async + ::middle::middle()
}
