//! Back to the input topic.

use super::{done, fails, headers, listed, poisoned};
use crate::support::{events::record, kafka::Record, random::Random, site::Site, wait};

const REDRIVEN: &str = "tidegate.redriven";

/// Where a dead letter is, as its record tells when it is back.
fn name_of(site: &Site, letter: &Record) -> String {
    format!("{}-{}-{}", site.topics.dead_letters, letter.partition, letter.offset)
}

/// What is in the input, one partition after the other, beside what was there before.
fn back(site: &Site) -> Vec<Record> {
    let mut records = site.input();
    records.retain(|record| record.header(REDRIVEN).is_some());
    records
}

/// They are in the input again, in their places, and the pipeline makes dead letters of them again.
fn goes_back(site: Site) {
    let (site, start) = poisoned(site);
    let letters = site.dump(&site.topics.dead_letters);
    let told = done(&site, &["redrive", "--dry-run"]);
    assert_eq!(told, format!("3 would be sent to topic {}\n", site.topics.raw));
    assert_eq!(back(&site), []);
    let one = done(&site, &["redrive", "--from", &start.to_string(), "--to", &(start + 1).to_string()]);
    assert_eq!(one, format!("1 sent to topic {}\n", site.topics.raw));
    let told = done(&site, &["redrive"]);
    assert_eq!(told, format!("2 sent to topic {}\n1 were sent before\n", site.topics.raw));
    assert_eq!(done(&site, &["redrive"]), "3 were sent before\n");

    let back = back(&site);
    let letter = |value: &str| {
        let has_value = |letter: &&Record| letter.value.as_deref() == Some(value.as_bytes());
        letters.iter().find(has_value).map(|letter| name_of(&site, letter)).unwrap()
    };
    let seen: Vec<_> =
        back.iter().map(|record| (record.partition, record.key.clone(), record.timestamp)).collect();
    let user = |name: &str| Some(name.as_bytes().to_vec());
    // The two of one partition in the order of their dead letters.
    assert_eq!(seen[0], (0, user("user-1"), start));
    assert_eq!(seen[1..], [(1, None, start + 1000), (1, user("user-2"), start + 2000)]);
    let own = headers(&[("trace", "1"), ("tidegate.mine", "kept"), (REDRIVEN, &letter("not\u{1b} json"))]);
    assert_eq!(back[0].headers, own);
    assert_eq!(back[1].headers, headers(&[(REDRIVEN, &letter(r#"["event_type"]"#))]));

    site.run_until_end();
    let counted = |reason: &str, count, sent| (reason.to_owned(), None, count, sent);
    assert_eq!(listed(&site, &[]), [counted("invalid_json", 4, 2), counted("not_an_object", 2, 1)]);
    // Those that are back once more say where they were last.
    done(&site, &["redrive", "--reason", "not_an_object"]);
    let again = self::back(&site).pop().unwrap();
    let last = site.dump(&site.topics.dead_letters);
    let last = last.iter().rfind(|letter| letter.header("tidegate.reason") == Some("not_an_object"));
    assert_eq!(again.headers, headers(&[(REDRIVEN, &name_of(&site, last.unwrap()))]));
}

#[test]
fn records_go_back_to_their_partition_with_their_own_headers_and_are_processed_again() {
    goes_back(Site::new("letters-back", 2));
}

#[test]
fn on_an_embedded_log_they_go_back_likewise() {
    goes_back(Site::embedded("letters-back-embedded", 2));
}

#[test]
fn what_the_input_would_not_take_as_it_was_stays_and_so_does_what_came_from_another() {
    let site = Site::new("letters-cut", 2).create();
    site.kafka.configure_topic(&site.topics.dead_letters, &[("max.message.bytes", "3000")]);
    let now = wait::now_ms();
    // No batch of them fits the input's new limit, however well it is compressed.
    let mut random = Random::new(1);
    let short: Vec<_> = (0..20)
        .map(|_| (0..10).map(|_| format!("{:016x}", random.next())).collect::<String>())
        .map(|text| record(0, "short", text, now))
        .collect();
    site.write(&short);
    site.write(&[record(0, "long", "x".repeat(20_000), now), record(0, "medium", "x".repeat(2000), now)]);
    site.run_until_end();
    site.kafka.configure_topic(&site.topics.raw, &[("max.message.bytes", "1500")]);
    let elsewhere = site.sibling().set("topics.raw.name", &format!("{:?}", site.topics.alerts));
    let elsewhere = elsewhere.set("topics.alerts.name", &format!("{:?}", site.topics.raw));
    elsewhere.write_config();
    let said = fails(&elsewhere, 1, &["redrive"]);
    assert!(said.contains(&format!("21 stay: it came from topic {:?}", site.topics.raw)), "{said}");

    let said = fails(&site, 1, &["redrive"]);
    let too_large = format!("1 stay: topic {} takes at most 1500 bytes a message", site.topics.raw);
    for words in ["20 sent to topic", &too_large, "1 stay: only the beginning of the value is left"] {
        assert!(said.contains(words), "{words} is missing in {said}");
    }
    assert_eq!(listed(&site, &[]), [("invalid_json".to_owned(), None, 22, 20)]);
}
