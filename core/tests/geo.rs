//! Geo lookup, on databases written here and, where they are at hand, on MaxMind's own test databases.
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    sync::Arc,
};

use tidegate_core::geo::{GeoCache, GeoDatabase, GeoError, NULL_FRAGMENT};
use tidegate_traffic::mmdb_writer::{City, Value, write_bare_database, write_city_database};

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
    // Asked twice, for the second answer comes from the cache.
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
    assert_eq!((database.build_time(), database.database_type()), (Some(1_760_000_000), "Tidegate-City"));
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

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// A database of another maker with one record, opened and verified.
fn of_other_maker(kind: &str, members: Vec<(&'static str, Value)>) -> Result<GeoDatabase, GeoError> {
    let network = ("81.2.69.0".parse().unwrap(), 24, Value::Map(members));
    GeoDatabase::from_bytes(write_bare_database(kind, &[network]))
}

/// `country`, `city` and `location` as MaxMind has them, degrees of another width.
fn nested() -> Vec<(&'static str, Value)> {
    let names = Value::Map(vec![("de", text("Londen")), ("en", text("London"))]);
    let degrees = vec![("latitude", Value::Single(51.5142)), ("longitude", Value::Single(-0.0931))];
    vec![
        ("city", Value::Map(vec![("names", names)])),
        ("country", Value::Map(vec![("iso_code", text("GB")), ("geoname_id", Value::Unsigned(2_635_167))])),
        ("location", Value::Map(degrees)),
    ]
}

#[test]
fn the_layouts_of_all_common_makers_are_read_and_lack_nothing() {
    let city = || ("city", text("London"));
    let layouts = [
        ("DBIP-City-Lite", nested()),
        (
            "ipinfo standard_location.mmdb",
            vec![city(), ("country", text("GB")), ("lat", text("51.5142")), ("lng", text("-0.0931"))],
        ),
        (
            "ipinfo ip_geolocation",
            vec![
                city(),
                ("country", text("United Kingdom")),
                ("country_code", text("GB")),
                ("loc", text("51.5142, -0.0931")),
            ],
        ),
        (
            "ip-location-db",
            vec![
                city(),
                ("country_code", text("GB")),
                ("latitude", Value::Double(51.5142)),
                ("longitude", Value::Double(-0.0931)),
            ],
        ),
    ];
    for (kind, members) in layouts {
        let database = of_other_maker(kind, members).unwrap();
        assert!(database.missing().is_empty(), "{kind}: {:?}", database.missing());
        assert_eq!(lookup(&mut GeoCache::new(Some(Arc::new(database))), "81.2.69.160"), LONDON, "{kind}");
    }
}

#[test]
fn what_no_record_has_is_named_but_a_country_database_need_not_have_cities() {
    let named = |kind, members| of_other_maker(kind, members).unwrap().missing().to_vec();
    let code = || ("country_code", text("GB"));
    assert_eq!(named("ipinfo lite", vec![code()]), ["city", "lat", "lon"]);
    assert_eq!(named("a City database", vec![code(), ("city", text("London"))]), ["lat", "lon"]);
    assert_eq!(named("DBIP-Country-Lite", vec![code()]), [""; 0]);
    // Neither a name nor a sign is a code.
    for country in ["United Kingdom", "--"] {
        assert_eq!(named("Country", vec![("country", text(country))]), ["country"]);
    }
}

#[test]
fn a_database_that_tells_nothing_is_refused_unless_its_type_promises_something() {
    let odd = || vec![("where", text("London")), ("country", Value::Unsigned(1))];
    assert_eq!(of_other_maker("Whereabouts", odd()).unwrap_err(), GeoError::WrongType("Whereabouts".into()));
    let all = ["country", "city", "lat", "lon"];
    assert_eq!(of_other_maker("My-City", odd()).unwrap().missing(), all);
    assert_eq!(GeoDatabase::from_bytes(write_bare_database("empty", &[])).unwrap().missing(), all);
}

#[test]
fn a_value_of_an_unexpected_type_is_as_good_as_not_there() {
    let odd = vec![
        ("country_code", text("GB")),
        ("city", Value::Unsigned(7)),
        ("latitude", text("north")),
        ("longitude", Value::Map(vec![("degrees", Value::Double(3.0))])),
        ("lng", Value::Unsigned(3)),
        ("loc", text("nowhere")),
    ];
    let database = of_other_maker("odd", odd).unwrap();
    assert_eq!(
        lookup(&mut GeoCache::new(Some(Arc::new(database))), "81.2.69.160"),
        r#"{"country":"GB","lon":3.0}"#
    );
}

#[test]
fn what_says_nothing_of_places_may_be_left_out_of_the_metadata_or_be_empty() {
    let bare = of_other_maker("", nested()).unwrap();
    assert_eq!((bare.build_time(), bare.database_type()), (None, "unknown"));

    let mut empty = write_city_database(1_760_000_000, &[london("81.2.69.0/24")]);
    let find =
        |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
    let description = find(&empty, b"\x4bdescription") + 12;
    let next = find(&empty, b"\x4ddatabase_type");
    empty.splice(description..next, *b"\xe0");
    let database = GeoDatabase::from_bytes(empty).unwrap();
    assert_eq!((database.build_time(), database.database_type()), (Some(1_760_000_000), "Tidegate-City"));
    assert_eq!(lookup(&mut GeoCache::new(Some(Arc::new(database))), "81.2.69.160"), LONDON);
}

/// The answers for some addresses.
fn answers(database: GeoDatabase) -> [serde_json::Value; 4] {
    let mut cache = GeoCache::new(Some(Arc::new(database)));
    ["81.2.69.160", "9.9.9.9", "175.16.199.3", "2001:db8::1"]
        .map(|ip| serde_json::from_slice(cache.fragment(ip.parse().unwrap())).unwrap())
}

/// Whether an answer is the right one, or a part of it, or null.
fn says_nothing_wrong(answer: &serde_json::Value, right: &serde_json::Value) -> bool {
    answer.as_object().is_none_or(|answer| answer.iter().all(|(key, value)| right.get(key) == Some(value)))
}

#[test]
fn before_it_is_verified_a_damaged_database_says_less_but_nothing_wrong() {
    let beijing = City {
        country: Some("CN".into()),
        city: Some("Beijing".into()),
        lat: Some(39.9),
        lon: Some(116.4),
        ..network("175.16.199.0/24")
    };
    let of_cities =
        write_city_database(1_760_000_000, &[london("81.2.69.0/24"), london("9.9.9.9/32"), beijing.clone()]);
    let flat = |code, city, ip: &str| {
        let members = vec![
            ("city", text(city)),
            ("country_code", text(code)),
            ("latitude", Value::Single(1.5)),
            ("longitude", Value::Single(2.5)),
        ];
        (ip.parse().unwrap(), 24, Value::Map(members))
    };
    let of_others = write_bare_database(
        "flat",
        &[flat("GB", "London", "81.2.69.0"), flat("CN", "Beijing", "175.16.199.0")],
    );
    let mut undetected_at_open = 0;
    for good in [of_cities, of_others] {
        let right = answers(GeoDatabase::from_bytes(good.clone()).unwrap());
        for at in 0..good.len() {
            for flip in [0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff] {
                let mut damaged = good.clone();
                damaged[at] ^= flip;
                let Ok(database) = GeoDatabase::open(damaged) else { continue };
                let is_damaged = database.verify().is_err();
                undetected_at_open += usize::from(is_damaged);
                for (answer, right) in answers(database).iter().zip(&right) {
                    assert!(
                        !is_damaged || says_nothing_wrong(answer, right),
                        "byte {at} ^ {flip:#x}: {answer} instead of {right}"
                    );
                }
            }
        }
    }
    assert!(undetected_at_open > 0, "nothing was tried");
}

/// About 60 MB, as a real City database of cities.
fn large_database() -> Vec<u8> {
    let place = |i: u32| City {
        country: Some("GB".into()),
        city: Some(format!("A town of the number {i}")),
        lat: Some(f64::from(i) / 10_000.0),
        lon: Some(f64::from(i) / -10_000.0),
        ..City {
            network: IpAddr::V4(((16 << 24) + (i << 10)).into()),
            prefix_len: 22,
            ..network("0.0.0.0/0")
        }
    };
    let v6 = |i: u32| City {
        network: IpAddr::V6(Ipv6Addr::from_bits(0x2001 << 112 | u128::from(i) << 80)),
        prefix_len: 48,
        ..place(i)
    };
    let places: Vec<City> = (0..470_000).flat_map(|i| [place(i), v6(i)]).collect();
    write_city_database(1_760_000_000, &places)
}

#[test]
#[ignore = "a measurement: cargo test -p tidegate-core --test geo -- --ignored --nocapture"]
fn how_long_a_large_database_takes_to_open_and_to_verify() {
    let bytes = large_database();
    if let Some(path) = std::env::var_os("TIDEGATE_LARGE_GEO") {
        std::fs::write(path, &bytes).unwrap();
    }
    let size = bytes.len() / 1_000_000;
    let start = std::time::Instant::now();
    let database = GeoDatabase::open(bytes).unwrap();
    let opened = start.elapsed();
    database.verify().unwrap();
    eprintln!("{size} MB: open after {opened:?}, verified after {:?}", start.elapsed());
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
