//! Faulty registries: a proxy in front of a real one injects faults that no local registry has.
#![allow(missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crateyard_registry::push::{self, Report};
use crateyard_registry::{Error, Kind, Source, pull};
use crateyard_testing::need;
use crateyard_testing::proxy::{Entry, Fault, Proxy, count, received};
use crateyard_testing::{Home, Layout, Registry, check_whole, run};

const CHUNK: u64 = 64 * 1024;
const LAYER: usize = 300_000;

/// A registry behind a proxy, an image of one large layer, and a client.
struct Scene {
    registry: Registry,
    proxy: Proxy,
    home: Home,
    layout: Layout,
}

impl Scene {
    fn new() -> Scene {
        let registry = Registry::start();
        let proxy = Proxy::start(registry.address);
        let layout = Layout::with_image(1, &[LAYER]);
        Scene {
            registry,
            proxy,
            home: Home::new(),
            layout,
        }
    }

    fn push(&self) -> Result<Report, Error> {
        self.push_with(&push::Options {
            chunk_size: CHUNK,
            ..push::Options::default()
        })
    }

    fn push_with(&self, options: &push::Options) -> Result<Report, Error> {
        let source: Arc<Source> = self.layout.source();
        let target = self.proxy.reference("app:v1");
        run(push::push(&self.home.client(), source, &target, options))
    }

    /// Pushes, checks that everything arrived, and returns the requests that the proxy saw.
    fn push_well(&self) -> (Report, Vec<Entry>) {
        self.proxy.take();
        let report = self.push().unwrap();
        let entries = self.proxy.take();
        self.proxy.heal();
        assert_eq!(self.whole(), Some(report.digest.clone()));
        (report, entries)
    }

    fn whole(&self) -> Option<crateyard_oci::Digest> {
        run(check_whole(
            &Home::new().client(),
            &self.registry.reference("app:v1"),
        ))
    }

    fn failure(&self) -> (Kind, String) {
        match self.push().unwrap_err() {
            Error::Request(failure) => (failure.kind, failure.to_string()),
            other => panic!("{other}"),
        }
    }
}

fn patches(entries: &[Entry]) -> usize {
    count(entries, "PATCH", "/uploads/")
}

#[test]
fn too_many_requests_are_waited_out_as_long_as_asked() {
    need!("429", "docker-registry");
    for early in [false, true] {
        let scene = Scene::new();
        let headers = vec![("Retry-After", "1".to_owned())];
        let status = "429 Too Many Requests";
        let fault = if early {
            Fault::AnswerEarly { status, headers }
        } else {
            Fault::Answer { status, headers }
        };
        scene.proxy.fail("PATCH", "/uploads/", 1, fault);
        let begin = Instant::now();
        let (report, entries) = scene.push_well();
        assert!(begin.elapsed() >= Duration::from_secs(1));
        assert_eq!(report.retries, 1, "{:?}", scene.home.told.retries);
        // Chunks that the registry has taken are not sent again.
        assert!(
            received(&entries) <= LAYER as u64 + 1000 + CHUNK,
            "{entries:?}"
        );
        let told = scene.home.told.retries.lock().unwrap();
        assert!(
            told[0].contains("429 Too Many Requests") && told[0].contains("asked true"),
            "{told:?}"
        );
    }
}

#[test]
fn a_date_to_come_back_at_is_understood_and_a_long_wait_is_not_made() {
    need!("429 date", "docker-registry");
    let scene = Scene::new();
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(2));
    let headers = vec![("Retry-After", date)];
    scene.proxy.fail(
        "PUT",
        "/uploads/",
        1,
        Fault::Answer {
            status: "503 Service Unavailable",
            headers,
        },
    );
    let (report, _) = scene.push_well();
    assert_eq!(report.retries, 1);

    let scene = Scene::new();
    let headers = vec![("Retry-After", "3600".to_owned())];
    scene.proxy.fail(
        "POST",
        "/uploads/",
        9,
        Fault::Answer {
            status: "429 Too Many Requests",
            headers,
        },
    );
    let begin = Instant::now();
    let (kind, text) = scene.failure();
    assert_eq!(kind, Kind::Unreachable);
    assert!(
        text.contains("3600 s") && text.contains("POST http://"),
        "{text}"
    );
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_registry_without_chunks_gets_one_request() {
    need!("no chunks", "docker-registry");
    for status in [
        "405 Method Not Allowed",
        "404 Not Found",
        "400 Bad Request",
        "416 Range Not Satisfiable",
    ] {
        let scene = Scene::new();
        scene.proxy.fail(
            "PATCH",
            "/uploads/",
            99,
            Fault::Answer {
                status,
                headers: Vec::new(),
            },
        );
        let (report, entries) = scene.push_well();
        assert_eq!((patches(&entries), report.retries), (1, 0), "{status}");
        let whole = entries
            .iter()
            .filter(|entry| entry.method == "PUT" && entry.received == LAYER as u64);
        assert_eq!(whole.count(), 1, "{status}");
        assert_eq!(scene.home.told.notices.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_registry_that_takes_one_chunk_only_gets_one_request() {
    need!("second chunk", "docker-registry");
    let scene = Scene::new();
    scene.proxy.rule(|head| {
        let is_later = head
            .header("content-range")
            .is_some_and(|range| !range.starts_with("0-"));
        let fault = Fault::Answer {
            status: "400 Bad Request",
            headers: Vec::new(),
        };
        (head.method() == "PATCH" && is_later).then_some(fault)
    });
    let (_, entries) = scene.push_well();
    assert_eq!(patches(&entries), 2);
}

#[test]
fn a_small_limit_on_requests_makes_chunks_smaller() {
    need!("413", "docker-registry");
    let mut scene = Scene::new();
    scene.layout = Layout::with_image(2, &[3_000_000]);
    scene.proxy.rule(|head| {
        let length: u64 = head.header("content-length")?.parse().ok()?;
        let fault = Fault::AnswerEarly {
            status: "413 Payload Too Large",
            headers: Vec::new(),
        };
        (length > 600_000).then_some(fault)
    });
    let options = push::Options {
        chunk_size: 2 << 20,
        ..push::Options::default()
    };
    let report = scene.push_with(&options).unwrap();
    let entries = scene.proxy.take();
    assert_eq!(scene.whole(), Some(report.digest));
    let accepted = entries
        .iter()
        .filter(|entry| entry.method == "PATCH" && entry.status == 202);
    assert_eq!(accepted.count(), 6, "{entries:?}");
    // If no smaller chunk helps, the error says so.
    let scene = Scene {
        layout: Layout::with_image(3, &[3_000_000]),
        ..scene
    };
    scene.proxy.heal();
    let fault = Fault::Answer {
        status: "413 Payload Too Large",
        headers: Vec::new(),
    };
    scene.proxy.fail("PATCH", "/uploads/", 99, fault.clone());
    scene.proxy.fail("PUT", "/uploads/", 99, fault);
    match scene.push_with(&options).unwrap_err() {
        Error::Request(failure) => assert_eq!(failure.kind, Kind::Refused, "{failure}"),
        other => panic!("{other}"),
    }
}

#[test]
fn the_least_chunk_that_a_registry_names_is_respected() {
    need!("chunk minimum", "docker-registry");
    let scene = Scene::new();
    let name =
        |head: &mut crateyard_testing::proxy::Head| head.set("OCI-Chunk-Min-Length", "131072");
    scene
        .proxy
        .fail("POST", "/uploads/", 99, Fault::Rewrite(name));
    let (_, entries) = scene.push_well();
    let sizes: Vec<u64> = entries
        .iter()
        .filter(|entry| entry.method == "PATCH")
        .map(|entry| entry.received)
        .collect();
    assert_eq!(sizes, [131_072, 131_072, LAYER as u64 - 262_144]);
}

#[test]
fn odd_answers_to_chunks_are_understood() {
    need!("odd answers", "docker-registry");
    let changes: [fn(&mut crateyard_testing::proxy::Head); 4] = [
        |head| head.set_status("201"),
        |head| head.remove("range"),
        |head| {
            head.set_status("201");
            head.remove("range");
        },
        |head| {
            head.set(
                "range",
                &format!(
                    "bytes={}",
                    head.header("range").unwrap_or_default().to_owned()
                ),
            );
        },
    ];
    for change in changes {
        let scene = Scene::new();
        scene
            .proxy
            .fail("PATCH", "/uploads/", 99, Fault::Rewrite(change));
        let (report, entries) = scene.push_well();
        assert_eq!((patches(&entries), report.retries), (5, 0));
        assert_eq!(
            received(&entries),
            report
                .transfers
                .iter()
                .map(|transfer| transfer.size)
                .sum::<u64>()
        );
    }
}

#[test]
fn a_declined_mount_becomes_an_upload() {
    need!("no mount", "docker-registry");
    for status in [
        "405 Method Not Allowed",
        "404 Not Found",
        "400 Bad Request",
        "403 Forbidden",
    ] {
        let scene = Scene::new();
        scene.proxy.fail(
            "POST",
            "mount=",
            99,
            Fault::Answer {
                status,
                headers: Vec::new(),
            },
        );
        let options = push::Options {
            mount_from: vec!["other".into()],
            ..push::Options::default()
        };
        let report = scene.push_with(&options).unwrap();
        assert_eq!(
            (report.blobs.mounted, report.blobs.uploaded),
            (0, 2),
            "{status}"
        );
        assert_eq!(scene.whole(), Some(report.digest));
    }
}

#[test]
fn a_reset_in_a_chunk_costs_that_chunk() {
    need!("reset", "docker-registry");
    for after in [0, 1, 30_000, CHUNK] {
        let scene = Scene::new();
        let mut chunks = 0;
        scene.proxy.rule(move |head| {
            chunks += usize::from(head.method() == "PATCH");
            (head.method() == "PATCH" && chunks == 3).then_some(Fault::Reset { after })
        });
        let (report, entries) = scene.push_well();
        assert_eq!(report.retries, 1, "{:?}", scene.home.told.retries);
        let blobs: u64 = report.transfers.iter().map(|transfer| transfer.size).sum();
        assert_eq!(received(&entries), blobs + after.min(CHUNK));
    }
}

#[test]
fn a_lost_answer_costs_no_second_upload() {
    need!("lost answer", "docker-registry");
    let scene = Scene::new();
    // The last request of the large layer: the registry stores everything, but its answer is lost.
    let mut puts = 0;
    scene.proxy.rule(move |head| {
        let is_blob = head.method() == "PUT" && head.path().contains("/uploads/");
        puts += usize::from(is_blob);
        (is_blob && puts <= 2).then_some(Fault::LoseAnswer)
    });
    let (report, entries) = scene.push_well();
    assert_eq!(report.retries, 2);
    let blobs: u64 = report.transfers.iter().map(|transfer| transfer.size).sum();
    assert_eq!(received(&entries), blobs);
}

#[test]
fn the_next_run_resumes_where_this_one_stopped() {
    need!("resume", "docker-registry");
    let mut scene = Scene::new();
    let mut chunks = 0;
    scene.proxy.rule(move |head| {
        chunks += usize::from(head.method() == "PATCH");
        // Nothing gets through after the third chunk, so the run fails.
        (chunks > 3).then_some(Fault::Reset { after: 0 })
    });
    let (kind, _) = scene.failure();
    assert_eq!(kind, Kind::Unreachable);
    assert_eq!(scene.whole(), None);
    let first = received(&scene.proxy.take());
    scene.proxy.heal();
    scene.home.told = Arc::default();
    let report = scene.push().unwrap();
    let second = received(&scene.proxy.take());
    assert_eq!(scene.whole(), Some(report.digest.clone()));
    let resumed: u64 = report
        .transfers
        .iter()
        .map(|transfer| transfer.resumed)
        .sum();
    assert_eq!(resumed, 3 * CHUNK);
    // Either run may have sent the config.
    let rest = LAYER as u64 - 3 * CHUNK;
    assert!((rest..rest + 500).contains(&second), "{first} and {second}");
}

#[test]
fn a_spoiled_upload_is_begun_again() {
    need!("spoiled", "docker-registry");
    let scene = Scene::new();
    let mut chunks = 0;
    scene.proxy.rule(move |head| {
        chunks += usize::from(head.method() == "PATCH");
        (chunks > 3).then_some(Fault::Reset { after: 0 })
    });
    scene.failure();
    scene.proxy.heal();
    // The registry forgets the upload.
    std::fs::remove_dir_all(
        scene
            .registry
            .directory
            .path()
            .join("store/docker/registry/v2/repositories/app/_uploads"),
    )
    .unwrap();
    let (report, _) = scene.push_well();
    assert!(
        report
            .transfers
            .iter()
            .all(|transfer| transfer.resumed == 0)
    );
}

#[test]
fn server_errors_are_retried_and_bounded() {
    need!("500", "docker-registry");
    for status in [
        "500 Internal Server Error",
        "502 Bad Gateway",
        "503 Service Unavailable",
    ] {
        let scene = Scene::new();
        let answer = |status| Fault::Answer {
            status,
            headers: Vec::new(),
        };
        for method in ["HEAD", "POST", "PATCH", "PUT"] {
            scene.proxy.fail(method, "/", 1, answer(status));
        }
        let (report, _) = scene.push_well();
        assert_eq!(report.retries, 4, "{status}: {:?}", scene.home.told.retries);
    }
    let scene = Scene::new();
    let fault = Fault::Answer {
        status: "500 Internal Server Error",
        headers: Vec::new(),
    };
    scene.proxy.fail("PATCH", "/", 999, fault);
    let (kind, text) = scene.failure();
    assert_eq!(kind, Kind::Unreachable);
    assert!(
        text.contains("PATCH http://") && text.contains("app") && text.contains("try: "),
        "{text}"
    );
    let tried = patches(&scene.proxy.take());
    assert_eq!(tried, 6, "as many attempts as were allowed");
    assert_eq!(scene.whole(), None);
}

#[test]
fn a_stalled_connection_is_given_up_and_tried_again() {
    need!("stall", "docker-registry");
    let mut scene = Scene::new();
    scene.home.options.timeouts.stall = Duration::from_secs(3);
    scene.proxy.fail(
        "PATCH",
        "/uploads/",
        1,
        Fault::Stall {
            time: Duration::from_secs(120),
        },
    );
    scene.proxy.fail(
        "HEAD",
        "/blobs/",
        1,
        Fault::Stall {
            time: Duration::from_secs(120),
        },
    );
    let begin = Instant::now();
    let (report, _) = scene.push_well();
    assert_eq!(report.retries, 2);
    assert!(begin.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_registry_that_stores_something_else_is_not_believed() {
    need!("wrong digest", "docker-registry");
    let wrong: fn(&mut crateyard_testing::proxy::Head) = |head| {
        head.set(
            "Docker-Content-Digest",
            &format!("sha256:{}", "0".repeat(64)),
        );
    };
    for part in ["/blobs/uploads/", "/manifests/"] {
        let scene = Scene::new();
        scene.proxy.fail("PUT", part, 99, Fault::Rewrite(wrong));
        let (kind, text) = scene.failure();
        assert_eq!(kind, Kind::Contradiction, "{text}");
        assert!(
            text.contains("0000") && text.contains("PUT http://"),
            "{text}"
        );
        if part == "/blobs/uploads/" {
            assert_eq!(scene.whole(), None, "the tag was not set");
        }
    }
}

/// `202 Accepted` promises a result and names none.
#[test]
fn what_a_registry_only_accepts_is_not_pushed() {
    need!("accepted only", "docker-registry");
    for part in ["/blobs/uploads/", "/manifests/"] {
        let scene = Scene::new();
        let accepted = Fault::Answer {
            status: "202 Accepted",
            headers: Vec::new(),
        };
        scene.proxy.fail("PUT", part, 99, accepted);
        let (kind, text) = scene.failure();
        assert_eq!(kind, Kind::Contradiction, "{text}");
        assert!(text.contains("does not say that it stored"), "{text}");
        assert_eq!(scene.whole(), None, "the tag was not set");
    }
}

#[test]
fn redirects_to_plain_http_elsewhere_are_not_followed() {
    need!("location", "docker-registry");
    for location in [
        "ftp://elsewhere.example/x",
        "http://elsewhere.example/x",
        "http://[broken",
    ] {
        let scene = Scene::new();
        static LOCATION: std::sync::Mutex<String> = std::sync::Mutex::new(String::new());
        *LOCATION.lock().unwrap() = location.to_owned();
        let change: fn(&mut crateyard_testing::proxy::Head) =
            |head| head.set("location", &LOCATION.lock().unwrap());
        scene
            .proxy
            .fail("POST", "/uploads/", 99, Fault::Rewrite(change));
        // A registry on loopback may redirect to plain HTTP anywhere. The other host just does not
        // exist.
        let (kind, text) = scene.failure();
        assert!(
            matches!(kind, Kind::Contradiction | Kind::Unreachable),
            "{text}"
        );
    }
}

#[test]
fn a_pull_resumes_and_verifies() {
    need!("pull faults", "docker-registry");
    let scene = Scene::new();
    let (report, _) = scene.push_well();
    let target = scene.proxy.reference(&format!("app@{}", report.digest));
    let directory = tempfile::tempdir().unwrap();
    let pull = |name: &str| {
        let path = directory.path().join(name);
        run(pull::pull(
            &scene.home.client(),
            &target,
            &path,
            &pull::Options::default(),
        ))
    };
    scene.proxy.take();
    let mut cuts = 0;
    scene.proxy.rule(move |head| {
        cuts += usize::from(head.path().contains("/blobs/"));
        (head.path().contains("/blobs/") && cuts <= 3)
            .then_some(Fault::CutAnswer { after: 100_000 })
    });
    let pulled = pull("cut").unwrap();
    let answered: u64 = scene
        .proxy
        .take()
        .iter()
        .filter(|entry| entry.path.contains("/blobs/"))
        .map(|entry| entry.answered)
        .sum();
    assert_eq!(answered, pulled.bytes_received, "no byte twice");
    assert!(pulled.retries >= 2, "{pulled:?}");
    scene.proxy.heal();

    // A second run continues too.
    scene.proxy.rule(|head| {
        let is_again = head.header("range").is_some();
        match head.path().contains("/blobs/") {
            true if is_again => Some(Fault::Reset { after: 0 }),
            true => Some(Fault::CutAnswer { after: 100_000 }),
            false => None,
        }
    });
    assert_eq!(pull("two runs").unwrap_err().exit_code(), 7);
    scene.proxy.heal();
    let second = pull("two runs").unwrap();
    assert!(second.bytes_received < LAYER as u64 - 50_000, "{second:?}");

    for part in ["/blobs/", "/manifests/"] {
        scene.proxy.heal();
        scene.proxy.fail("GET", part, 99, Fault::SpoilAnswer);
        let error = pull("spoiled").unwrap_err();
        assert_eq!(error.exit_code(), 8, "{error}");
        assert!(!directory.path().join("spoiled/index.json").exists());
    }
    scene.proxy.heal();
    let waits = Arc::new(AtomicUsize::new(0));
    let counted = waits.clone();
    scene.proxy.rule(move |head| {
        let is_first = counted.fetch_add(1, Ordering::Relaxed) < 2;
        let headers = vec![("Retry-After", "0".to_owned())];
        (head.method() == "GET" && is_first).then_some(Fault::Answer {
            status: "429 Too Many Requests",
            headers,
        })
    });
    assert_eq!(pull("busy").unwrap().retries, 2);
}

#[test]
fn a_pull_that_gets_a_byte_at_a_time_is_given_up() {
    need!("short answers", "docker-registry");
    let scene = Scene::new();
    let (report, _) = scene.push_well();
    let target = scene.proxy.reference(&format!("app@{}", report.digest));
    let directory = tempfile::tempdir().unwrap();
    let mut left = 100;
    scene.proxy.rule(move |head| {
        let is_cut = head.path().contains("/blobs/") && left > 0;
        left -= i32::from(is_cut);
        is_cut.then_some(Fault::CutAnswer { after: 1 })
    });
    let (client, options) = (scene.home.client(), pull::Options::default());
    let error = run(pull::pull(&client, &target, directory.path(), &options)).unwrap_err();
    assert_eq!(error.exit_code(), 7, "{error}");
    assert!(error.to_string().contains("gave up after"), "{error}");
}

#[test]
fn an_upload_that_is_lost_again_and_again_is_given_up() {
    need!("lost uploads", "docker-registry");
    let scene = Scene::new();
    scene.proxy.rule(|head| {
        let is_third = head
            .header("content-range")
            .is_some_and(|range| range.starts_with("131072-"));
        let fault = Fault::Answer {
            status: "404 Not Found",
            headers: Vec::new(),
        };
        (head.method() == "PATCH" && is_third).then_some(fault)
    });
    let (kind, text) = scene.failure();
    assert_eq!(kind, Kind::Unreachable, "{text}");
    assert!(patches(&scene.proxy.take()) < 3 * 8);
}
