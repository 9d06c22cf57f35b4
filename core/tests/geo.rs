//! Geo lookup, on databases written here and, where they are at hand, on MaxMind's own test databases.
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
};

use tidegate_core::{
    geo::{GeoCache, GeoDatabase, GeoError, NULL_FRAGMENT},
    mmdb_writer::{City, write_city_database},
};

fn network(cidr: &str) -> City {
    let (network, prefix_len) = cidr.split_once('/').unwrap();
    City {
        network: network.parse().unwrap(),
        prefix_len: prefix_len.parse().unwrap(),
        country: None,
        city: None,
        lat: None,
        lon: None,
    }
}

fn london(cidr: &str) -> City {
    City {
        country: Some("GB".into()),
        city: Some("London".into()),
        lat: Some(51.5142),
        lon: Some(-0.0931),
        ..network(cidr)
    }
}

const LONDON: &str = r#"{"country":"GB","city":"London","lat":51.5142,"lon":-0.0931}"#;

fn cache(cities: &[City]) -> GeoCache {
    let bytes = write_city_database(1_760_000_000, cities);
    GeoCache::new(Some(Arc::new(GeoDatabase::from_bytes(bytes).unwrap())))
}

fn lookup(cache: &mut GeoCache, ip: &str) -> String {
    // asked twice, for the second answer comes from the cache
    let first = cache.fragment(ip.parse().unwrap()).to_vec();
    assert_eq!(cache.fragment(ip.parse().unwrap()), first);
    String::from_utf8(first).unwrap()
}

#[test]
fn an_address_is_rendered_as_country_city_lat_lon() {
    let mut cache = cache(&[london("81.2.69.0/24"), london("2a02:cf40::/29")]);
    for ip in ["81.2.69.160", "::ffff:81.2.69.160", "2a02:cf47::1"] {
        assert_eq!(lookup(&mut cache, ip), LONDON, "{ip}");
    }
    for ip in ["81.2.70.1", "2a02:cf50::1", "::1.2.3.4"] {
        assert_eq!(lookup(&mut cache, ip), "null", "{ip}");
    }
}

#[test]
fn what_the_database_lacks_is_left_out_and_nothing_at_all_is_null() {
    let mut cache = cache(&[
        network("1.0.0.0/24"),
        City { country: Some("SE".into()), ..network("1.0.1.0/24") },
        City { city: Some("L\"in\u{7}köping".into()), ..network("1.0.2.0/24") },
        City { lon: Some(15.0), ..network("1.0.3.0/24") },
        City { lat: Some(f64::NAN), city: Some(String::new()), ..network("1.0.4.0/24") },
        City { lat: Some(-1e-7), lon: Some(0.1 + 0.2), ..network("1.0.5.0/24") },
    ]);
    for (ip, geo) in [
        ("1.0.0.1", "null"),
        ("1.0.1.1", r#"{"country":"SE"}"#),
        ("1.0.2.1", r#"{"city":"L\"in\u0007köping"}"#),
        ("1.0.3.1", r#"{"lon":15.0}"#),
        ("1.0.4.1", "null"),
        ("1.0.5.1", r#"{"lat":-1e-7,"lon":0.30000000000000004}"#),
    ] {
        assert_eq!(lookup(&mut cache, ip), geo, "{ip}");
    }
}

#[test]
fn private_and_loopback_addresses_are_null_whatever_the_database_says() {
    let mut cache = cache(&[london("0.0.0.0/0"), london("::/1"), london("8000::/1")]);
    for ip in ["10.1.2.3", "172.31.0.1", "192.168.0.1", "127.0.0.1", "::1", "fd00::1", "::ffff:10.0.0.1"] {
        assert_eq!(lookup(&mut cache, ip), "null", "{ip}");
    }
    for ip in ["172.32.0.1", "169.254.0.1", "fe80::1", "224.0.0.1"] {
        assert_eq!(lookup(&mut cache, ip), LONDON, "{ip}");
    }
}

#[test]
fn a_smaller_network_is_cut_out_of_a_larger_one() {
    let country = |code: &str, cidr| City { country: Some(code.into()), ..network(cidr) };
    let mut cache =
        cache(&[country("AA", "5.5.5.5/32"), country("BB", "5.0.0.0/8"), country("CC", "5.5.0.0/16")]);
    for (ip, code) in [("5.5.5.5", "AA"), ("5.5.5.4", "CC"), ("5.4.0.0", "BB"), ("5.255.255.255", "BB")] {
        assert_eq!(lookup(&mut cache, ip), format!(r#"{{"country":"{code}"}}"#), "{ip}");
    }
}

#[test]
fn without_a_database_and_with_an_empty_one_all_is_null() {
    assert_eq!(GeoCache::new(None).fragment("81.2.69.160".parse().unwrap()), NULL_FRAGMENT);
    assert_eq!(lookup(&mut cache(&[]), "81.2.69.160"), "null");
}

#[test]
fn more_addresses_and_records_than_the_cache_keeps_are_answered_right() {
    let place = |i: u32| City {
        network: IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | u128::from(i) << 64)),
        lat: Some(f64::from(i)),
        ..network("::/64")
    };
    let mut cache = cache(&(0..40_000).map(place).collect::<Vec<_>>());
    for i in (0..40_000_u32).chain(0..10) {
        let ip = Ipv6Addr::from_bits(0x2001 << 112 | u128::from(i) << 64 | 7);
        assert_eq!(cache.fragment(IpAddr::V6(ip)), format!(r#"{{"lat":{i}.0}}"#).as_bytes());
    }
}

#[test]
fn the_writer_tells_its_type_and_build_time() {
    let database = GeoDatabase::from_bytes(write_city_database(1_760_000_000, &[])).unwrap();
    assert_eq!((database.build_time(), database.database_type()), (1_760_000_000, "Tidegate-City"));
}

#[test]
fn a_database_with_any_byte_damaged_or_cut_off_is_an_error_at_worst() {
    let good = write_city_database(1_760_000_000, &[london("81.2.69.0/24"), london("9.9.9.9/32")]);
    for at in 0..good.len() {
        let mut cut = good.clone();
        cut.truncate(at);
        assert!(GeoDatabase::from_bytes(cut).is_err(), "cut at {at}");
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = good.clone();
            damaged[at] ^= flip;
            if let Ok(database) = GeoDatabase::from_bytes(damaged) {
                let mut cache = GeoCache::new(Some(Arc::new(database)));
                for ip in ["81.2.69.160", "9.9.9.9", "2001:db8::1"] {
                    let fragment = cache.fragment(ip.parse().unwrap());
                    serde_json::from_slice::<serde_json::Value>(fragment).unwrap();
                }
            }
        }
    }
}

/// The directory of MaxMind's test databases, which are not part of this project.
fn maxmind_test_data() -> Option<PathBuf> {
    let directory = std::env::var_os("TIDEGATE_TEST_GEO").map(PathBuf::from);
    if directory.is_none() {
        eprintln!("not tested with MaxMind's test databases: set TIDEGATE_TEST_GEO to their directory");
    }
    directory
}

#[test]
fn maxminds_own_databases_are_read_and_an_asn_database_is_refused() {
    let Some(directory) = maxmind_test_data() else { return };
    let open = |name: &str| GeoDatabase::from_bytes(std::fs::read(directory.join(name)).unwrap());

    let mut city = GeoCache::new(Some(Arc::new(open("GeoIP2-City-Test.mmdb").unwrap())));
    assert_eq!(lookup(&mut city, "81.2.69.160"), LONDON);
    let linkoping = r#"{"country":"SE","city":"Linköping","lat":58.4167,"lon":15.6167}"#;
    assert_eq!(lookup(&mut city, "89.160.20.128"), linkoping);
    assert_eq!(lookup(&mut city, "1.1.1.1"), "null");

    let mut country = GeoCache::new(Some(Arc::new(open("GeoIP2-Country-Test.mmdb").unwrap())));
    assert_eq!(lookup(&mut country, "81.2.69.160"), r#"{"country":"GB"}"#);

    let refused = open("GeoLite2-ASN-Test.mmdb").unwrap_err();
    assert_eq!(refused, GeoError::WrongType("GeoLite2-ASN".into()));
}
