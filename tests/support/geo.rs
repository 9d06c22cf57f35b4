//! A small geo database, and by hand what it says.

use std::net::{IpAddr, Ipv4Addr};

use tidegate_traffic::mmdb_writer::{City, write_city_database};

/// When the database says it was built, unix seconds.
pub const BUILT_AT: u64 = 1_750_000_000;

/// Network, its length, and what an event from there gets as `geo`.
const NETWORKS: [(&str, u8, &str); 7] = [
    ("81.2.69.0", 24, r#"{"country":"GB","city":"London","lat":51.5142,"lon":-0.0931}"#),
    ("89.160.20.128", 25, r#"{"country":"SE","city":"Linköping","lat":58.4167,"lon":15.6167}"#),
    ("216.160.83.56", 29, r#"{"country":"US","city":"Milton","lat":47.2513,"lon":-122.3149}"#),
    ("175.16.199.0", 24, r#"{"country":"CN"}"#),
    ("2.125.160.216", 29, r#"{"lat":51.75,"lon":-1.25}"#),
    ("2001:218::", 32, r#"{"country":"JP","lat":35.68536,"lon":139.75309}"#),
    ("198.51.100.0", 24, r#"null"#),
];

/// Addresses in and out of the database, private ones among them.
pub const ADDRESSES: [&str; 12] = [
    "81.2.69.142",
    "89.160.20.129",
    "89.160.20.1",
    "216.160.83.57",
    "175.16.199.37",
    "2.125.160.217",
    "2001:218::1",
    "2001:0218:0085:A3:0:0:AC1F:8001",
    "198.51.100.7",
    "203.0.113.9",
    "10.1.2.3",
    "::1",
];

/// The database's bytes.
pub fn database() -> Vec<u8> {
    write_city_database(BUILT_AT, &NETWORKS.map(|(network, prefix_len, geo)| city(network, prefix_len, geo)))
}

/// A newer database that knows one network only and says `city` of it.
pub fn newer_database(network: &str, city_name: &str) -> Vec<u8> {
    let geo = format!(r#"{{"country":"GB","city":"{city_name}"}}"#);
    write_city_database(BUILT_AT + 86_400, &[city(network, 24, &geo)])
}

fn city(network: &str, prefix_len: u8, geo: &str) -> City {
    let geo: serde_json::Value = serde_json::from_str(geo).unwrap();
    let text = |key: &str| geo[key].as_str().map(str::to_owned);
    City {
        network: network.parse().unwrap(),
        prefix_len,
        country: text("country"),
        city: text("city"),
        lat: geo["lat"].as_f64(),
        lon: geo["lon"].as_f64(),
    }
}

/// What the first database says of an address, as it has to stand in the event.
pub fn look_up(address: IpAddr) -> &'static str {
    let found = NETWORKS.iter().find(|(network, prefix_len, _)| {
        let network = network.parse().unwrap();
        contains(network, *prefix_len, address)
    });
    found.map_or("null", |(_, _, geo)| geo)
}

fn contains(network: IpAddr, prefix_len: u8, address: IpAddr) -> bool {
    let (network, address, bits) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (widen(network), widen(address), 32),
        (IpAddr::V6(network), IpAddr::V6(address)) => (u128::from(network), u128::from(address), 128),
        _ => return false,
    };
    (network ^ address) >> (bits - u32::from(prefix_len)) == 0
}

fn widen(address: Ipv4Addr) -> u128 {
    u128::from(u32::from(address))
}
