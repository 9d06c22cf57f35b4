//! The bot filter and its built-in list.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tidegate_core::bots::{
    BotCache, BotFilter, Category, MAX_USER_AGENT_BYTES, Pattern, PatternError, embedded, parse_patterns,
};

const BOTS: &[(Category, &str)] = &[
    (Category::Crawler, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (
        Category::Crawler,
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/130.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    ),
    (
        Category::Crawler,
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; \
         +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
    ),
    (Category::Crawler, "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)"),
    (Category::Crawler, "Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)"),
    (
        Category::Crawler,
        "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)",
    ),
    (Category::Crawler, "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)"),
    (Category::Crawler, "CCBot/2.0 (https://commoncrawl.org/faq/)"),
    (Category::Crawler, "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
    (Category::Crawler, "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
    (Category::Crawler, "WhatsApp/2.23.20.0 A"),
    (
        Category::Ai,
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
    ),
    (
        Category::Ai,
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
    ),
    (
        Category::Ai,
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; \
         +https://perplexity.ai/perplexitybot)",
    ),
    (
        Category::Ai,
        "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)",
    ),
    (Category::Seo, "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
    (Category::Seo, "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)"),
    (Category::Seo, "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)"),
    (Category::Seo, "Screaming Frog SEO Spider/20.1"),
    (Category::Monitor, "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"),
    (Category::Monitor, "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)"),
    (Category::Monitor, "kube-probe/1.31"),
    (Category::Monitor, "ELB-HealthChecker/2.0"),
    (
        Category::Monitor,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
         Chrome/119.0.0.0 Safari/537.36 Chrome-Lighthouse",
    ),
];

const PEOPLE_AND_APPLICATIONS: &[&str] = &[
    "",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [FBAN/FBIOS;FBAV/470.0.0.36.102;FBDV/iPhone14,5]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [Pinterest/iOS]",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 [LinkedInApp]/9.29",
    "Mozilla/5.0 (Linux; Android 10; CUBOT_P30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 11; CUBOT NOTE 20 Build/RP1A.200720.011; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/128.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 9; CUBOT X19 S) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/26.0 Chrome/122.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; arm_64; Android 12; SM-A525F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 YaApp_Android/23.72.1 YaSearchBrowser/23.72.1 BroPP/1.0 SA/3 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 12; SM-A525F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.0.0 Mobile Safari/537.36 YandexSearch/23.72",
    "Mozilla/5.0 (Linux; Android 13; SM-S911N) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/128.0.0.0 Mobile Safari/537.36 NAVER(inapp; search; 2000; 12.7.1)",
    "Mozilla/5.0 (Linux; Android 12; V2118A) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/97.0 Mobile Safari/537.36 T7/13.50 baiduboxapp/13.50.0.10",
    "Mozilla/5.0 (SMART-TV; Linux; Tizen 7.0) AppleWebKit/537.36 (KHTML, like Gecko) Version/7.0 TV Safari/537.36",
    "Opera/9.80 (Windows NT 6.1; U; en) Presto/2.10.229 Version/11.62",
    "Dalvik/2.1.0 (Linux; U; Android 12; CUBOT P60 Build/SP1A.210812.016)",
    "Mastodon/350 CFNetwork/1496.0.7 Darwin/23.5.0",
    "okhttp/4.12.0",
    "python-requests/2.32.3",
    "curl/8.9.1",
    "Go-http-client/2.0",
    "axios/1.7.7",
    "Shop/7.2 (iPhone; iOS 18.0; Scale/3.00) Alamofire/5.9",
];

fn filter_of(category: Category) -> BotFilter {
    let patterns: Vec<Pattern> =
        embedded().into_iter().filter(|pattern| pattern.category == Some(category)).collect();
    BotFilter::new(&patterns).unwrap()
}

#[test]
fn well_known_bots_are_told_by_exactly_their_category() {
    for category in Category::ALL {
        let filter = filter_of(category);
        for (of, user_agent) in BOTS {
            assert_eq!(filter.is_bot(user_agent.as_bytes()), category == *of, "{category:?}: {user_agent}");
        }
    }
}

#[test]
fn browsers_cubot_phones_and_http_libraries_are_not_bots() {
    let filter = BotFilter::new(&embedded()).unwrap();
    for user_agent in PEOPLE_AND_APPLICATIONS {
        assert!(!filter.is_bot(user_agent.as_bytes()), "{user_agent}");
    }
}

#[test]
fn case_does_not_matter_and_what_lies_behind_the_cap_is_not_looked_at() {
    let filter = BotFilter::new(&embedded()).unwrap();
    assert!(filter.is_bot(b"GOOGLEBOT"));
    assert!(filter.is_bot(b"\xff\xfe googlebot \x00"));
    let padded = |len: usize| [vec![b' '; len - b"googlebot".len()], b"googlebot".to_vec()].concat();
    assert!(filter.is_bot(&padded(MAX_USER_AGENT_BYTES)));
    assert!(!filter.is_bot(&padded(MAX_USER_AGENT_BYTES + 1)));
}

#[test]
fn the_cache_says_what_the_filter_says_also_past_its_size() {
    let filter = Arc::new(BotFilter::new(&embedded()).unwrap());
    let mut cache = BotCache::new(Arc::clone(&filter));
    for round in 0..10_000 {
        for user_agent in ["Googlebot", "curl/8.9.1", &format!("Agent {round}"), &"é".repeat(600)] {
            assert_eq!(cache.is_bot(user_agent), filter.is_bot(user_agent.as_bytes()));
        }
    }
}

#[test]
fn a_pattern_file_has_sections_and_comments() {
    let text = "  first\n\n# comment\n[ai]\r\nsecond (?:x|y)\n[monitor]\n third#not-a-comment\n";
    let pattern = |regex: &str, category| Pattern { regex: regex.into(), category };
    let expected = [
        pattern("first", None),
        pattern("second (?:x|y)", Some(Category::Ai)),
        pattern("third#not-a-comment", Some(Category::Monitor)),
    ];
    assert_eq!(parse_patterns(text).unwrap(), expected);
}

#[test]
fn a_pattern_that_cannot_be_used_is_refused_with_its_line() {
    for (text, message) in [
        ("good\n(bad\n", "line 2: unclosed group"),
        ("\n[robots]", "line 2: unknown category, use one of crawler, ai, seo, monitor"),
        ("x*", "line 1: matches every user agent, as it matches the empty one"),
        ("a)|(b", "line 1: unopened group"),
    ] {
        assert_eq!(parse_patterns(text).unwrap_err().to_string(), message);
    }
    let bad = [Pattern { regex: "(?:a){1000}{1000}".into(), category: None }];
    assert!(matches!(BotFilter::new(&bad), Err(PatternError::Regex { .. })));
}

#[test]
fn without_patterns_nothing_is_a_bot() {
    assert!(!BotFilter::new(&[]).unwrap().is_bot(b"Googlebot"));
}
