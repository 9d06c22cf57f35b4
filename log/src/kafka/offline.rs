//! What can be told of the clients' settings without a connection.

use rdkafka::{
    ClientConfig, config::FromClientConfigAndContext, consumer::BaseConsumer, error::KafkaError,
    producer::BaseProducer,
};

use super::{
    config::{KafkaConfig, refuse},
    health::Context,
};
use crate::Topic;

/// Everything that keeps the clients from being made: the property it is about, if it is one, and the words.
/// Nothing is connected.
#[must_use]
pub fn objections(config: &KafkaConfig) -> Vec<(Option<String>, String)> {
    let of_one = |(name, value): (&String, &String)| {
        let words = refuse(name, value).or_else(|| unknown(name, value))?;
        Some((Some(name.clone()), words))
    };
    let found: Vec<_> = config.properties.iter().filter_map(of_one).collect();
    if found.is_empty() { together(config).map(|words| (None, words)).into_iter().collect() } else { found }
}

/// Why librdkafka does not take a property by itself.
fn unknown(name: &str, value: &str) -> Option<String> {
    let mut alone = ClientConfig::new();
    alone.set(name, value);
    match alone.create_native_config().err()? {
        // The value is left out, which librdkafka's words may quote: it may be a secret.
        KafkaError::ClientConfig(_, words, _, _) if value.is_empty() || !words.contains(value) => {
            Some(format!("librdkafka refuses `{name}`: {words}"))
        }
        _ => Some(format!("librdkafka refuses the value of `{name}`")),
    }
}

/// Why librdkafka does not take all of them together.
fn together(config: &KafkaConfig) -> Option<String> {
    // Without an address nothing can be connected.
    let offline = |mut client: ClientConfig| {
        client.remove("bootstrap.servers");
        client
    };
    let mut writer = offline(config.plain());
    writer.set("transactional.id", &config.transactional_id);
    let readers = [config.inquiry(false), config.group(), config.reader(Topic::Raw)];
    let reader = readers.into_iter().find_map(|reader| {
        BaseConsumer::from_config_and_context(&offline(reader), Context::unheard()).map(drop).err()
    });
    let producer = || BaseProducer::from_config_and_context(&writer, Context::unheard()).map(drop).err();
    match reader.or_else(producer)? {
        KafkaError::ClientConfig(_, words, name, _) => Some(format!("librdkafka refuses `{name}`: {words}")),
        KafkaError::ClientCreation(words) => Some(format!("librdkafka refuses the properties: {words}")),
        error => Some(format!("librdkafka refuses the properties: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(properties: &[(&str, &str)]) -> Vec<(Option<String>, String)> {
        objections(&KafkaConfig::sample(properties))
    }

    #[test]
    fn what_librdkafka_refuses_is_known_without_a_connection() {
        assert_eq!(told(&[("linger.ms", "20"), ("sasl.password", "")]), []);
        for (name, value) in [
            ("lingr.ms", "20"),
            ("linger.ms", "soon"),
            ("linger.ms", "-5"),
            ("compression.type", "rar"),
            ("acks", "1"),
        ] {
            let told = told(&[("fetch.min.bytes", "2"), (name, value)]);
            assert_eq!(told.len(), 1, "{name}: {told:?}");
            assert!(told[0].0.as_deref() == Some(name) && told[0].1.contains(name), "{told:?}");
        }
        // Each is right by itself.
        let told = told(&[("max.in.flight", "100")]);
        assert!(matches!(&told[..], [(None, words)] if words.contains("max.in.flight")), "{told:?}");
    }

    #[test]
    fn a_value_is_never_told() {
        let told = told(&[("security.protocol", "hunter2"), ("sasl.mechanisms", "hunter2")]);
        assert!(!told.is_empty() && !format!("{told:?}").contains("hunter2"), "{told:?}");
    }
}
