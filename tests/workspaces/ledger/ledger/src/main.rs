use table::Table;

include!(concat!(env!("OUT_DIR"), "/tables.rs"));

#[derive(Table)]
struct Entry {
    #[allow(dead_code)]
    amount: i64,
}

fn main() {
    let parsed: serde_json::Value = serde_json::from_str(r#"{"amount": 41}"#).expect("valid JSON");
    let amount = parsed["amount"].as_i64().unwrap_or_default() + 1;
    println!("table {}", Entry::NAME);
    println!("amount {}", renamed::Buffer::new().format(amount));
    println!("checksum {:08x}", checksum_sys::checksum(SQL.as_bytes()));
    println!("header {}", env!("LEDGER_HEADER"));
    println!("greeting {}", env!("LEDGER_GREETING"));
    println!("cfg {} {}", cfg!(from_build_script), cfg!(ledger_extra));
    println!("version {} at {}", env!("CARGO_PKG_VERSION"), file!());
}
