#[derive(counted::TryFromPrimitive, Debug)]
#[repr(u8)]
enum Month {
    May = 5,
}

fn main() {
    println!("{:?} {}", Month::try_from(5), dotenvy_macro::dotenv!("ALMANAC_YEAR"));
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_snapshot_is_found() {
        insta::assert_snapshot!(super::Month::May as u8);
    }
}
