//! The geo database: it may be missing, broken or replaced, and the pipeline goes on.

use std::fs;

use crate::support::{
    daemon::Daemon,
    events::record,
    geo::{BUILT_AT, database, newer_database},
    site::Site,
    wait,
};
use tidegate_core::geo::GeoDatabase;
use tidegate_traffic::mmdb_writer::{Value, write_bare_database};

const BUILD_TIME: &str = "tidegate_geo_database_build_timestamp_seconds";

/// Sends one event from 81.2.69.142 through and returns its `geo`, as text.
fn geo_of_next(site: &Site) -> String {
    let now = wait::now_ms();
    site.write(&[record(0, "user", r#"{"event_type":"click","ip":"81.2.69.142"}"#, now)]);
    site.await_caught_up();
    let processed = site.kafka.dump(&site.topics.processed);
    let value = String::from_utf8(processed.last().unwrap().value.clone().unwrap()).unwrap();
    value.split_once(r#""geo":"#).unwrap().1.trim_end_matches('}').to_owned()
}

/// Puts a new file in the database's place.
fn replace(site: &Site, bytes: &[u8]) {
    fs::write(site.path("next.mmdb"), bytes).unwrap();
    fs::rename(site.path("next.mmdb"), site.geo_path()).unwrap();
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn await_build_time(daemon: &Daemon, wanted: u64) {
    wait::until_true("the geo database to be loaded", || {
        daemon.metrics().gauge(BUILD_TIME) == Some(wanted as f64)
    });
}

#[test]
fn a_replaced_database_is_taken_over_and_a_broken_one_is_not() {
    let site = Site::new("geo", 1).create();
    let daemon = site.run();
    await_build_time(&daemon, BUILT_AT);
    assert!(geo_of_next(&site).starts_with(r#"{"country":"GB","city":"London""#));

    let newer = newer_database("81.2.69.0", "Londinium");
    replace(&site, &newer[..newer.len() / 2]);
    wait::until_true("a word about the broken database", || daemon.log().contains("geo.mmdb"));
    assert!(geo_of_next(&site).contains("London"), "the old database stays in use");

    replace(&site, &newer);
    await_build_time(&daemon, BUILT_AT + 86_400);
    assert_eq!(geo_of_next(&site), r#"{"country":"GB","city":"Londinium""#);
    daemon.stop();
}

#[test]
fn a_missing_database_gives_null_and_one_warning() {
    let site = Site::new("nogeo", 1).create();
    fs::remove_file(site.geo_path()).unwrap();
    let daemon = site.run();
    assert_eq!(geo_of_next(&site), "null");
    assert_eq!(geo_of_next(&site), "null");
    let log = daemon.log();
    daemon.stop();
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("geo.mmdb")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
}

/// The database with one byte changed that no lookup reads, between the tree and the records.
fn damaged(mut database: Vec<u8>) -> Vec<u8> {
    let zeros = database.windows(16).position(|window| window == [0; 16]).unwrap();
    database[zeros + 8] = 1;
    let opened = GeoDatabase::open(database.clone());
    assert!(opened.is_ok_and(|database| database.verify().is_err()), "only verification can find it");
    database
}

fn lines_with<'a>(log: &'a str, text: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(text)).collect()
}

#[test]
fn the_first_database_is_used_at_once_and_given_up_if_it_turns_out_to_be_damaged() {
    let site = Site::new("geodamaged", 1).create();
    fs::write(site.geo_path(), damaged(database())).unwrap();
    let daemon = site.run();
    wait::until_true("a word about the damage", || daemon.log().contains("geo database cannot be used"));
    await_build_time(&daemon, 0);
    assert_eq!(geo_of_next(&site), "null");
    assert!(daemon.log().contains("geo database in use"), "it was used before");

    // The daemon goes on, and a good file is taken.
    replace(&site, &newer_database("81.2.69.0", "Londinium"));
    await_build_time(&daemon, BUILT_AT + 86_400);
    assert_eq!(geo_of_next(&site), r#"{"country":"GB","city":"Londinium""#);
    let log = daemon.log();
    daemon.stop();
    assert_eq!(lines_with(&log, "cannot be used").len(), 1, "{log}");
}

#[test]
fn a_new_database_is_verified_before_it_is_used() {
    let site = Site::new("georeload", 1).create();
    let daemon = site.run();
    await_build_time(&daemon, BUILT_AT);
    replace(&site, &damaged(newer_database("81.2.69.0", "Londinium")));
    wait::until_true("a word about the damage", || daemon.log().contains("the one in use stays"));
    assert!(geo_of_next(&site).contains("London"), "the old database stays in use");
    let log = daemon.log();
    daemon.stop();
    assert_eq!(lines_with(&log, "geo database in use").len(), 1, "{log}");
}

#[test]
fn a_database_of_another_maker_is_read_and_what_it_lacks_is_said() {
    let site = Site::new("geomaker", 1).create();
    let members = vec![("country_code", text("GB")), ("city", text("London"))];
    let network = ("81.2.69.0".parse().unwrap(), 24, Value::Map(members));
    fs::write(site.geo_path(), write_bare_database("other maker", &[network])).unwrap();
    let daemon = site.run();
    assert_eq!(geo_of_next(&site), r#"{"country":"GB","city":"London""#);
    let log = daemon.log();
    let said = lines_with(&log, "geo database lacks fields");
    assert!(said.len() == 1 && said[0].contains("lat, lon"), "{log}");
    let built = daemon.metrics().gauge(BUILD_TIME).unwrap();
    assert!(built > BUILT_AT as f64, "it does not say when it was built, the file does: {built}");
    daemon.stop();
    let check = site.command(&["check"]).stdout;
    assert!(check.contains("does not say when it was built") && check.contains("no lat, lon"), "{check}");
}

#[test]
fn a_database_of_something_else_is_refused_by_its_name() {
    let site = Site::new("geoasn", 1).create();
    let network = ("81.2.69.0".parse().unwrap(), 24, Value::Map(vec![("asn", text("AS1"))]));
    fs::write(site.geo_path(), write_bare_database("Some-ASN", &[network])).unwrap();
    let daemon = site.run();
    assert_eq!(geo_of_next(&site), "null");
    let log = daemon.log();
    daemon.stop();
    let said = lines_with(&log, "geo database cannot be used");
    assert!(said.len() == 1 && said[0].contains("Some-ASN"), "{log}");
}
