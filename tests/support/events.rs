//! Input records: plain ones, and a seeded mix of all that can come.

use super::{
    geo,
    kafka::{Headers, Input},
    random::Random,
};

/// What the user agents of the bots in these tests, and of nobody else, contain.
pub const BOT_MARKS: [&str; 4] = ["Googlebot", "GPTBot", "AhrefsBot", "UptimeRobot"];

const BOTS: [&str; 4] = [
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    "mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)",
    "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)",
];

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36",
];

const EVENT_TYPES: [&str; 10] = [
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "page_view",
    "click",
    "click",
    "purchase",
    "error",
    "error",
];

/// One record with an ordinary event, whose Kafka timestamp is its event time.
pub fn event(partition: i32, event_type: &str, service: &str, user: &str, timestamp: i64) -> Input {
    let value = format!(
        r#"{{"user_id":"{user}","event_type":"{event_type}","timestamp":{timestamp},"payload":{{"service_name":"{service}"}}}}"#
    );
    record(partition, user, value, timestamp)
}

/// One record of any value.
pub fn record(partition: i32, key: &str, value: impl Into<Vec<u8>>, timestamp: i64) -> Input {
    Input { partition, key: Some(key.into()), value: Some(value.into()), headers: Vec::new(), timestamp }
}

/// One event that no rule counts on each partition: it moves the watermark.
pub fn sentinels(partitions: i32, timestamp: i64) -> Vec<Input> {
    (0..partitions)
        .map(|partition| event(partition, "heartbeat", "sentinel", "sentinel", timestamp))
        .collect()
}

/// A stream of all kinds of records with event times anywhere in a span.
pub struct Mix {
    random: Random,
    partitions: i32,
    start: i64,
    span_ms: u64,
    made: u64,
    /// Whether records that end as dead letters are among them.
    poison: bool,
    /// How many of a thousand are written in an unusual way.
    odd: u64,
}

impl Mix {
    pub fn new(seed: u64, partitions: i32, start: i64, span_ms: u64) -> Self {
        Self { random: Random::new(seed), partitions, start, span_ms, made: 0, poison: true, odd: 200 }
    }

    /// Without poison.
    pub fn pure(mut self) -> Self {
        self.poison = false;
        self
    }

    /// With a tenth of the unusual ones.
    pub fn few_odd(mut self) -> Self {
        self.odd /= 10;
        self
    }

    /// The next records.
    pub fn take(&mut self, count: usize) -> Vec<Input> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The next record.
    pub fn next(&mut self) -> Input {
        self.made += 1;
        let user = self.random.below(3000);
        let timestamp = self.start + self.random.below(self.span_ms) as i64;
        let mut input = Input {
            partition: (user % self.partitions as u64) as i32,
            key: self.key(user),
            value: None,
            headers: self.headers(),
            // Up to half a second from the event to the log.
            timestamp: timestamp + self.random.below(500) as i64,
        };
        input.value = match self.random.below(1000) {
            0..5 => None,
            5..20 if self.poison => Some(self.poisonous(timestamp)),
            20..24 => Some(self.ordinary(user, input.timestamp + 3_600_000).into_bytes()),
            number if (24..24 + self.odd).contains(&number) => Some(self.odd(user, timestamp).into_bytes()),
            _ => Some(self.ordinary(user, timestamp).into_bytes()),
        };
        input
    }

    fn key(&mut self, user: u64) -> Option<Vec<u8>> {
        match self.random.below(100) {
            0..3 => None,
            3 => Some(Vec::new()),
            4 => Some(vec![0xff, 0x00, user as u8]),
            _ => Some(format!("user-{user}").into_bytes()),
        }
    }

    fn headers(&mut self) -> Headers {
        let header = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
        match self.random.below(10) {
            0 => {
                vec![header("trace", b"1"), ("nothing".into(), None), header("trace", b"2"), header("", b"")]
            }
            1 => vec![header("größe", &[0, 0xff, 0x80]), header("source", b"test")],
            _ => Vec::new(),
        }
    }

    /// The busiest of 30 services are far above any threshold, the last ones never reach it.
    fn service(&mut self) -> String {
        let within = self.random.below(30) + 1;
        format!("service-{}", self.random.below(within))
    }

    fn ordinary(&mut self, user: u64, timestamp: i64) -> String {
        let agents = if self.random.below(100) < 8 { &BOTS } else { &BROWSERS };
        let agent = self.random.pick(agents).to_owned();
        let ip = self.random.pick(&geo::ADDRESSES).to_owned();
        let event_type = self.random.pick(&EVENT_TYPES).to_owned();
        let (service, made) = (self.service(), self.made);
        format!(
            r#"{{"user_id":"user-{user}","event_type":"{event_type}","timestamp":{timestamp},"payload":{{"n":{made},"service_name":"{service}","ip":"{ip}","user_agent":"{agent}","price":12.30}}}}"#
        )
    }

    /// Valid events that are written, or lack something, in an unusual way.
    fn odd(&mut self, user: u64, timestamp: i64) -> String {
        let (n, service, agent) = (self.made, self.service(), self.random.pick(&BROWSERS).to_owned());
        let ip = self.random.pick(&geo::ADDRESSES).to_owned();
        let event_type = self.random.pick(&["error", "click", "page_view"]).to_owned();
        let (head, time) =
            (format!(r#""n":{n},"event_type":"{event_type}""#), format!(r#""timestamp":{timestamp}"#));
        match self.random.below(20) {
            // Fields on the top level win over those in the payload.
            0 => format!(
                r#"{{{head},{time},"service_name":"{service}","ip":"{ip}","user_agent":"{agent}","payload":{{"service_name":"other","ip":"81.2.69.1","user_agent":"Googlebot"}}}}"#
            ),
            1 => format!(
                r#"{{{head},{time},"service_name":null,"ip":17,"user_agent":null,"payload":{{"service_name":"{service}","ip":"{ip}","user_agent":"{}"}}}}"#,
                BOTS[0]
            ),
            2 => format!(
                r#"{{{head},{time},"service_name":"","ip":"fe80::1%eth0","payload":{{"service_name":"{service}","ip":"{ip}"}}}}"#
            ),
            3 => format!(
                "\r\n {{ {head} ,\t{time} , \"payload\" : {{ \"service_name\" : \"{service}\" }} }} \n"
            ),
            4 => format!(
                r#"{{{head},"geo":{{"old":["}}",1]}},{time},"service_name":"{service}","ip":"{ip}"}}"#
            ),
            5 => format!(r#"{{"g\u0065o":1,{head},{time},"geo" : "x" ,"payload":{{"geo":1,"ip":"{ip}"}}}}"#),
            6 => format!(
                r#"{{"event_type":"purchase","event_type":7,{head},{time},"service_name":"{service}"}}"#
            ),
            7 => {
                format!(r#"{{{head},{time},"payload":{{"service_name":"gone"}},"payload":{{"ip":"{ip}"}}}}"#)
            }
            8 => format!(
                r#"{{"n":{n},"event_\u0074ype":"err\u006fr",{time},"service_name":"{service}","user_id":"us\u0065r-{user}"}}"#
            ),
            9 => {
                format!(r#"{{{head},{time},"lone":"\ud800","\udc00":["\udfff"],"service_name":"{service}"}}"#)
            }
            10 => format!(
                r#"{{{head},{time},"big":1e999,"long":-{}.5E-7,"service_name":"{service}"}}"#,
                "9".repeat(400)
            ),
            11 => format!(
                r#"{{{head},{time},"deep":{}{},"service_name":"{service}"}}"#,
                "[".repeat(3000),
                "]".repeat(3000)
            ),
            12 => format!(r#"{{{head},{time},"service_name":"{}","user_id":null}}"#, "é".repeat(150)),
            13 => format!(r#"{{{head},"service_name":"{service}","ip":"{ip}"}}"#),
            14 => format!(r#"{{{head},"timestamp":null,"payload":null,"user_id":"user-{user}"}}"#),
            15 => format!(r#"{{{head},{time},"payload":"text","user_id":{user}}}"#),
            16 => {
                format!(r#"{{{head},{time},"payload":{{"payload":{{"service_name":"deep"}},"ip":"{ip}x"}}}}"#)
            }
            17 => format!(r#"{{{head},{time},"service_name":"{service} \"quoted\" \\ / ü"}}"#),
            18 => {
                format!(r#"{{{head},{time},"service_name":"{service}","filler":"{}"}}"#, "x".repeat(20_000))
            }
            _ => format!(r#"{{"event_type":"","n":{n},{time},"service_name":"{service}"}}"#),
        }
    }

    /// Records that end as dead letters, each for a reason that stands in the contract.
    fn poisonous(&mut self, timestamp: i64) -> Vec<u8> {
        let n = self.made;
        let text = match self.random.below(20) {
            0 => String::new(),
            1 => "not json".to_owned(),
            2 => format!(r#"{{"n":{n},"event_type":"error""#),
            3 => format!("\u{feff}{{\"n\":{n},\"event_type\":\"error\"}}"),
            4 => format!(r#"{{"n":{n},"event_type":"error"}}}}"#),
            5 => format!(r#"{{"n":{n},"event_type":"error","a":01}}"#),
            6 => format!(r#"["event_type",{n}]"#),
            7 => format!("\"event_type {n}\""),
            8 => "null".to_owned(),
            9 => format!(r#"{{"n":{n},"payload":{{"event_type":"error"}}}}"#),
            10 => format!(r#"{{"n":{n},"event_type":null,"timestamp":-1}}"#),
            11 => format!(r#"{{"n":{n},"event_type":["error"]}}"#),
            12 => format!(r#"{{"n":{n},"event_type":"error","timestamp":"{timestamp}"}}"#),
            13 => format!(r#"{{"n":{n},"event_type":"error","timestamp":{timestamp}.0}}"#),
            14 => format!(r#"{{"n":{n},"event_type":"error","timestamp":1e12}}"#),
            15 => format!(r#"{{"n":{n},"event_type":"error","timestamp":-{timestamp}}}"#),
            16 => format!(r#"{{"n":{n},"event_type":"error","timestamp":253402300800000}}"#),
            17 => format!(r#"{{"n":{n},"event_type":"error","service_name":42}}"#),
            18 => format!(r#"{{"n":{n},"event_type":"error","payload":{{"service_name":["a"]}}}}"#),
            _ => {
                let mut bytes = format!(r#"{{"n":{n},"event_type":"error","a":"?"}}"#).into_bytes();
                let at = bytes.len() - 3;
                bytes[at] = 0xff;
                return bytes;
            }
        };
        text.into_bytes()
    }
}
