//! The broker goes away and comes back.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::support::{
    self,
    broker::Broker,
    events::Mix,
    kafka::{Input, Kafka},
    site::Site,
    verify, wait,
};

/// Short, so that thresholds are passed.
const SPAN_MS: u64 = 60_000;

fn batch(mix: &mut Mix) -> Vec<Input> {
    mix.take(5000)
}

#[test]
fn a_broker_that_dies_or_freezes_under_load_and_comes_back_costs_nothing() {
    let _turn = support::heavy();
    let mut broker = Broker::new();
    broker.start();
    broker.wait_up();
    let site = Site::at(broker.kafka.clone(), "bounce", 4).order_free().create();
    let start = wait::hours_ago(3);
    let mut mix = Mix::new(5, 4, start, SPAN_MS);
    site.write(&batch(&mut mix));
    let mut daemon = site.run();

    // Once it dies, once it only freezes: then it may yet do what it was asked for before.
    for fault in ["KILL", "STOP"] {
        // What is written meanwhile is repeated by the producer when the broker is back.
        let (producer, topic, inputs) = (site.kafka.producer(), site.topics.raw.clone(), batch(&mut mix));
        let load = thread::spawn(move || producer.write(&topic, &inputs));
        let watch = site.committed_watch();
        let before = wait::until("committed offsets", || watch.offsets());
        wait::until_true("an epoch under load", || watch.offsets().is_some_and(|now| now > before));
        if fault == "KILL" {
            broker.kill()
        } else {
            broker.signal("STOP")
        }
        let reason = daemon.wait_not_ready();
        assert!(!reason.trim().is_empty(), "/readyz does not say why");
        if fault == "KILL" {
            broker.start()
        } else {
            broker.signal("CONT")
        }
        broker.wait_up();
        load.join().unwrap();
        daemon.wait_ready();
    }
    site.write_sentinels(start + 60 * 60_000);
    site.await_caught_up();
    daemon.assert_running();
    daemon.stop();
    let expected = verify::outputs(&site, &[]);
    assert!(expected.alerts(&site.job).count() > 5);
}

#[test]
fn without_a_broker_at_start_the_daemon_keeps_trying_and_check_says_so() {
    let _turn = support::heavy();
    let mut broker = Broker::new();
    broker.start();
    broker.wait_up();
    let site = Site::at(broker.kafka.clone(), "absent", 2).order_free().create();
    let start = wait::hours_ago(1);
    let mut mix = Mix::new(6, 2, start, SPAN_MS);
    site.write(&batch(&mut mix));
    broker.kill();

    let mut daemon = site.start(&[]);
    let reason = daemon.wait_not_ready();
    assert!(!reason.trim().is_empty(), "/readyz does not say why");
    assert_eq!(daemon.get("/livez").unwrap().status, 200);
    let check = site.command(&["check"]);
    assert_eq!(check.code, Some(69), "{check:?}");

    broker.start();
    broker.wait_up();
    daemon.wait_ready();
    site.await_caught_up();
    daemon.stop();
    assert_eq!(site.command(&["check"]).code, Some(0));
}

/// Something that is no broker: takes connections, waits for a request and answers with `words`.
fn stranger(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(words));
        }
    });
    address
}

#[test]
fn where_no_broker_answers_every_command_says_who_does() {
    let http = stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let told = format!("no Kafka broker answers at {http}: it speaks HTTP");
    let site = Site::at(Kafka::at(http), "stranger", 1);
    site.write_config();
    let check = site.command(&["check"]);
    assert!(check.code == Some(69) && check.stdout.contains(&told), "{check:?}");
    let mut daemon = site.start(&[]);
    wait::until_true("/readyz to say who answers", || daemon.wait_not_ready().contains(&told));
    assert!(daemon.log().contains(&told), "{}", daemon.log());
    daemon.stop();

    let tls = stranger(&[0x15, 3, 3, 0, 2, 2, 70]);
    let told = format!("no Kafka broker answers at {tls}: it speaks TLS");
    let site = Site::at(Kafka::at(tls), "stranger", 1);
    site.write_config();
    let plan = site.command(&["topics", "plan"]);
    assert!(plan.code == Some(69) && plan.stderr.contains(&told), "{plan:?}");
}
