//! The bot filter and its built-in list.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tidegate_core::bots::{
    BotCache, BotFilter, Category, MAX_USER_AGENT_BYTES, Pattern, PatternError, embedded, parse_patterns,
};

/// Category, name and user agent.
#[rustfmt::skip]
const BOTS: &[(Category, &str, &str)] = &[
    (Category::Search, "Googlebot", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (Category::Search, "Googlebot", "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"),
    (Category::Search, "bingbot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36"),
    (Category::Search, "YandexBot", "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)"),
    (Category::Search, "YandexImages", "Mozilla/5.0 (compatible; YandexImages/3.0; +http://yandex.com/bots)"),
    (Category::Search, "Baiduspider", "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)"),
    (Category::Search, "DuckDuckBot", "DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)"),
    (Category::Search, "Applebot", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)"),
    (Category::Search, "SeznamBot", "Mozilla/5.0 (compatible; SeznamBot/4.0; +https://o-seznam.cz/seznambot)"),
    (Category::Search, "AdsBot-Google", "AdsBot-Google (+http://www.google.com/adsbot.html)"),
    (Category::Ai, "GPTBot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)"),
    (Category::Ai, "ChatGPT-User", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot"),
    (Category::Ai, "OAI-SearchBot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot)"),
    (Category::Ai, "ClaudeBot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)"),
    (Category::Ai, "Claude-User", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Claude-User/1.0; +Claude-User@anthropic.com)"),
    (Category::Ai, "PerplexityBot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)"),
    (Category::Ai, "meta-externalagent", "meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)"),
    (Category::Ai, "Amazonbot", "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot) Chrome/119.0.6045.214 Safari/537.36"),
    (Category::Ai, "Bytespider", "Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)"),
    (Category::Ai, "CCBot", "CCBot/2.0 (https://commoncrawl.org/faq/)"),
    (Category::Social, "facebookexternalhit", "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)"),
    (Category::Social, "Slackbot-LinkExpanding", "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"),
    (Category::Social, "Twitterbot", "Twitterbot/1.0"),
    (Category::Social, "LinkedInBot", "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)"),
    (Category::Social, "TelegramBot", "TelegramBot (like TwitterBot)"),
    (Category::Social, "Discordbot", "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)"),
    (Category::Social, "Pinterestbot", "Mozilla/5.0 (compatible; Pinterestbot/1.0; +http://www.pinterest.com/bot.html)"),
    (Category::Social, "WhatsApp", "WhatsApp/2.23.20.0 A"),
    (Category::Monitor, "UptimeRobot", "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)"),
    (Category::Monitor, "Pingdom.com_bot_version_1.4_", "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)"),
    (Category::Monitor, "StatusCake", "Mozilla/5.0 (compatible; StatusCake/1.0)"),
    (Category::Monitor, "kube-probe", "kube-probe/1.31"),
    (Category::Monitor, "ELB-HealthChecker", "ELB-HealthChecker/2.0"),
    (Category::Monitor, "Chrome-Lighthouse", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36 Chrome-Lighthouse"),
    (Category::Seo, "AhrefsBot", "Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)"),
    (Category::Seo, "SemrushBot", "Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)"),
    (Category::Seo, "MJ12bot", "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)"),
    (Category::Seo, "Screaming Frog", "Screaming Frog SEO Spider/20.1"),
    (Category::Feed, "Feedly", "Feedly/1.0 (+https://feedly.com/fetcher.html; 12 subscribers)"),
    (Category::Feed, "Feedbin", "Feedbin feed-id:1234 - 5 subscribers"),
    (Category::Feed, "inoreader.com", "Mozilla/5.0 (compatible; inoreader.com; 2 subscribers)"),
    (Category::Scanner, "CensysInspect", "Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)"),
    (Category::Scanner, "sqlmap", "sqlmap/1.8.2#stable (https://sqlmap.org)"),
    (Category::Scanner, "Nuclei", "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)"),
    (Category::Scanner, "Nikto", "Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:Port Check)"),
    (Category::Headless, "HeadlessChrome", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0.0.0 Safari/537.36"),
    (Category::Headless, "PhantomJS", "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1"),
    (Category::Other, "Scrapy", "Scrapy/2.11.2 (+https://scrapy.org)"),
];

#[rustfmt::skip]
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
    "Mozilla/5.0 (Linux; Android 7.0; M bot 60) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/78.0.3904.96 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; U; Android 4.2.2; it-it; S308 Build/CUBOT) AppleWebKit/534.30 (KHTML, like Gecko) Version/4.0 Mobile Safari/534.30",
    "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
    "Shop/7.2 (iPhone; iOS 18.0; Scale/3.00) Alamofire/5.9",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 340.0.0.20.84 (iPhone14,5; iOS 17_5; de_DE; de; scale=3.00; 1170x2532; 613103537)",
    "Mozilla/5.0 (Linux; Android 9; X20 PRO Build/P00610; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/101.0 Mobile Safari/537.36 Instagram 237.0 Android (28/9; 480dpi; 1080x2115; CUBOT; X20 PRO; mt6771; it_IT)",
    "Mozilla/5.0 (Linux; Android 6.0; B BOT 550 Build/MRA58K; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/53.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 7.1.1; M_bot_tab_1150 Build/N9F27F) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/67.0.3396.87 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 13; Spider 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Linux; Android 8.1.0; Seoul 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.38 Chrome/124.0 Electron/30.0 Safari/537.36",
    "QR Scanner/4.2 CFNetwork/1496.0.7 Darwin/23.5.0",
    "PodcastAddict/v5 (+https://podcastaddict.com/; Android podcast app)",
    "radio.de/5.10.5.3 (Linux; 13) ExoPlayerLib/2.18.2",
    "NetNewsWire (RSS Reader; https://netnewswire.com/)",
];

const LIBRARIES: &[&str] = &[
    "okhttp/4.12.0",
    "python-requests/2.32.3",
    "curl/8.9.1",
    "Go-http-client/2.0",
    "axios/1.7.7",
    "node-fetch/1.0 (+https://github.com/bitinn/node-fetch)",
];

fn filter() -> BotFilter {
    BotFilter::new(&embedded(), &Category::dropped_by_default()).unwrap()
}

#[test]
fn well_known_bots_are_dropped_and_told_by_their_category_and_name() {
    let filter = filter();
    for (category, name, user_agent) in BOTS {
        let found = filter.explain(user_agent.as_bytes()).unwrap();
        let found = (found.category, String::from_utf8_lossy(found.name).into_owned());
        assert_eq!(found, (*category, (*name).to_owned()), "{user_agent}");
        assert_eq!(filter.drops(user_agent.as_bytes()), Some(*category), "{user_agent}");
    }
}

#[test]
fn bots_nobody_has_heard_of_are_told_by_their_shape() {
    let filter = filter();
    for (name, user_agent) in [
        ("Examplebot", "Examplebot/1.0"),
        ("ExampleBots", "ExampleBots"),
        ("Bot", "Mozilla/5.0 (compatible; Example Bot/2.1; example.com)"),
        ("example-crawler", "example-crawler"),
        ("ExampleSpider", "ExampleSpider/0.3 (spider@example.com)"),
        ("Example", "Example/1.0 (+https://example.com/about)"),
        ("Example", "Mozilla/5.0 (compatible; Example/3.2; https://example.com/)"),
        ("Example", "Mozilla/5.0 (compatible; Example/3.2)"),
        (
            "Example",
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Example/1.0) Safari/537.36",
        ),
    ] {
        let found = filter.explain(user_agent.as_bytes()).unwrap();
        assert_eq!(found.category, Category::Other, "{user_agent}: {found:?}");
        assert_eq!(String::from_utf8_lossy(found.name), name, "{user_agent}");
    }
}

#[test]
fn browsers_cubot_phones_and_applications_are_not_bots() {
    let filter = filter();
    for user_agent in PEOPLE_AND_APPLICATIONS {
        let found = filter.explain(user_agent.as_bytes());
        assert!(found.is_none_or(|found| found.category == Category::Exception), "{user_agent}: {found:?}");
        assert_eq!(filter.drops(user_agent.as_bytes()), None, "{user_agent}");
    }
}

#[test]
fn http_libraries_are_told_but_not_dropped_unless_their_category_is() {
    let (filter, all) = (filter(), BotFilter::new(&embedded(), &[Category::HttpLibrary]).unwrap());
    for user_agent in LIBRARIES {
        let user_agent = user_agent.as_bytes();
        assert_eq!(filter.explain(user_agent).map(|found| found.category), Some(Category::HttpLibrary));
        assert_eq!(filter.drops(user_agent), None);
        assert_eq!(all.drops(user_agent), Some(Category::HttpLibrary));
    }
    assert_eq!(all.drops(b"Googlebot/2.1"), None);
}

#[test]
fn a_match_tells_its_name_and_pattern_and_own_patterns_are_always_dropped() {
    let own = Pattern { regex: "acme".into(), category: None };
    let patterns: Vec<Pattern> = std::iter::once(own).chain(embedded()).collect();
    let filter = BotFilter::new(&patterns, &[]).unwrap();
    let found = filter.explain(b"Mozilla/5.0 (compatible; GPTBot/1.2)").unwrap();
    assert_eq!((found.category, found.pattern, found.is_dropped), (Category::Ai, "gptbot", false));
    assert_eq!(found.name, b"GPTBot");
    assert_eq!(filter.drops(b"the-acme.client googlebot"), Some(Category::Own));
    assert_eq!(filter.explain(b"the-acme.client googlebot").unwrap().name, b"the-acme.client");
}

#[test]
fn case_does_not_matter_and_what_lies_behind_the_cap_is_not_looked_at() {
    let filter = filter();
    assert!(filter.drops(b"GOOGLEBOT").is_some());
    assert!(filter.drops(b"\xff\xfe googlebot \x00").is_some());
    let padded = |len: usize| [vec![b' '; len - b"googlebot".len()], b"googlebot".to_vec()].concat();
    assert!(filter.drops(&padded(MAX_USER_AGENT_BYTES)).is_some());
    assert!(filter.drops(&padded(MAX_USER_AGENT_BYTES + 1)).is_none());
}

#[test]
fn the_cache_says_what_the_filter_says_also_past_its_size() {
    let filter = Arc::new(filter());
    let mut cache = BotCache::new(Arc::clone(&filter));
    for round in 0..10_000 {
        for user_agent in ["Googlebot", "curl/8.9.1", &format!("Agent {round}"), &"é".repeat(600)] {
            assert_eq!(cache.drops(user_agent), filter.drops(user_agent.as_bytes()));
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
        (
            "\n[robots]",
            "line 2: unknown category, use one of ai, search, social, monitor, seo, feed, scanner, headless, http-library, other, own, exception",
        ),
        ("x*", "line 1: matches every user agent, as it matches the empty one"),
        ("a)|(b", "line 1: unopened group"),
    ] {
        assert_eq!(parse_patterns(text).unwrap_err().to_string(), message);
    }
    let bad = [Pattern { regex: "(?:a){1000}{1000}".into(), category: None }];
    assert!(matches!(BotFilter::new(&bad, &[]), Err(PatternError::Regex { .. })));
}

#[test]
fn without_patterns_nothing_is_a_bot() {
    assert_eq!(BotFilter::new(&[], &Category::ALL).unwrap().drops(b"Googlebot"), None);
}

#[test]
fn what_the_filter_says_is_what_the_patterns_say_one_by_one() {
    // With texts of their own, with shared ones, with none, in any order.
    let lists = [
        &["googlebot", r"\bbot\b", "[a-z]+[0-9]bot", "(?-i:Bot)", "crawl(?:er)?$"][..],
        &["[a-z]+[0-9]{3}", "spider", "b[^a-z]t"],
        &["bot", "otb", "(?:x|y|bo)t$", "^go"],
    ];
    let agents = [
        "a Googlebot",
        "the bot",
        "abc1bot",
        "Bot",
        "crawl",
        "crawlers",
        "abc123",
        "b-t",
        "botbot",
        "got",
        "xt",
        "",
    ];
    for list in lists {
        for rotation in 0..list.len() {
            let mut list = list.to_vec();
            list.rotate_left(rotation);
            let patterns: Vec<Pattern> =
                list.iter().map(|regex| Pattern { regex: (*regex).into(), category: None }).collect();
            let filter = BotFilter::new(&patterns, &[]).unwrap();
            for agent in agents {
                let expected = patterns.iter().find(|pattern| {
                    let alone = BotFilter::new(std::slice::from_ref(*pattern), &[]).unwrap();
                    alone.drops(agent.as_bytes()).is_some()
                });
                let found = filter.explain(agent.as_bytes()).map(|found| found.pattern);
                assert_eq!(found, expected.map(|pattern| pattern.regex.as_str()), "{agent}: {list:?}");
            }
        }
    }
}

#[test]
fn an_exception_is_no_bot_and_what_stands_before_it_is_one_all_the_same() {
    let text = "[search]\ngooglebot\n[exception]\ncubot\n[crawler]\nbot";
    let filter = BotFilter::new(&parse_patterns(text).unwrap(), &Category::ALL).unwrap();
    assert_eq!(filter.drops(b"CUBOT X19"), None);
    assert_eq!(filter.drops(b"CUBOT X19 Googlebot"), Some(Category::Search));
    // The name of the category when there were only four.
    assert_eq!(filter.drops(b"a bot"), Some(Category::Other));
}

#[test]
fn lists_too_long_for_the_machine_are_matched_as_well_and_far_too_large_ones_are_refused() {
    let own = |regex: String| Pattern { regex, category: None };
    let list: Vec<Pattern> =
        (0..700).map(|number| own(format!("{}{number:03}", "name-".repeat(20)))).collect();
    let filter = BotFilter::new(&list, &[]).unwrap();
    assert!(filter.drops(format!("{}699/1", "Name-".repeat(20)).as_bytes()).is_some());
    assert!(filter.drops(format!("{}700/1", "Name-".repeat(20)).as_bytes()).is_none());
    let list: Vec<Pattern> = (0..400).map(|number| own(format!("x{number}[a-z]{{1000}}"))).collect();
    assert!(matches!(BotFilter::new(&list, &[]), Err(PatternError::Together(_))));
}
