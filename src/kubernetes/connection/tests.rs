use std::{fs, path::PathBuf, sync::Mutex};

use serde_json::json;

use super::*;

/// A connection through a kubeconfig in a file of this name, and what it said of itself.
struct Kept {
    file: PathBuf,
    connection: Connection,
    told: Arc<Mutex<Vec<Option<String>>>>,
}

impl Kept {
    fn new(name: &str) -> Self {
        let file = format!("helmreboot-{}-{name}", std::process::id());
        let kept = Self {
            file: std::env::temp_dir().join(file),
            connection: Connection::pending(Arc::default()),
            told: Arc::default(),
        };
        kept.write("a token");
        let access = ClusterAccess {
            kubeconfig: Some(kept.file.clone()),
            ..ClusterAccess::default()
        };
        let told = Arc::clone(&kept.told);
        let report = move |problem: Option<&str>| {
            told.lock()
                .expect("no panic")
                .push(problem.map(str::to_owned));
        };
        tokio::spawn(kept.connection.clone().maintain(access, report));
        kept
    }

    fn write(&self, token: &str) {
        self.write_for("http://127.0.0.1:1", token);
    }

    fn write_for(&self, server: &str, token: &str) {
        let config = json!({"current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": server}}],
            "users": [{"name": "u", "user": {"token": token}}]});
        fs::write(&self.file, config.to_string()).expect("a file");
    }

    fn told(&self) -> Vec<Option<String>> {
        std::mem::take(&mut self.told.lock().expect("no panic"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

async fn pass(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_missing_kubeconfig_is_tolerated_for_a_moment_and_then_reported_once() {
    let kept = Kept::new("missing");
    pass(1).await;
    assert_eq!(kept.told(), [None]);
    for _ in 0..3 {
        fs::remove_file(&kept.file).expect("no file");
        pass(12).await;
        assert!(kept.connection.client().is_ok());
        kept.write("a token");
        pass(12).await;
    }
    assert_eq!(kept.told(), []);
    fs::remove_file(&kept.file).expect("no file");
    pass(600).await;
    assert!(kept.connection.client().is_err());
    assert!(!kept.connection.health().is_up());
    let told = kept.told();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0]
            .as_ref()
            .is_some_and(|problem| problem.contains("helmreboot-"))
    );
    kept.write("a token");
    pass(6).await;
    assert!(kept.connection.client().is_ok());
    assert_eq!(kept.told(), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_half_written_leaves_the_client_as_it_was() {
    let kept = Kept::new("half");
    pass(1).await;
    fs::write(&kept.file, "clusters: {").expect("a file");
    pass(6).await;
    assert!(kept.connection.client().is_ok());
    kept.write("another token");
    pass(6).await;
    assert_eq!(kept.told(), [None, None], "made, and made anew");
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_a_file_may_be_missing_for_a_moment_too() {
    let kept = Kept::new("refused");
    pass(1).await;
    kept.connection.refused();
    pass(12).await;
    fs::remove_file(&kept.file).expect("no file");
    pass(12).await;
    assert!(kept.connection.client().is_ok());
}

#[tokio::test(start_paused = true)]
async fn another_server_is_a_move_and_another_token_is_none() {
    let kept = Kept::new("changes");
    let mut changes = kept.connection.server_changes();
    let soon = Duration::from_secs(6);
    let moved = tokio::time::timeout(soon, changes.next()).await;
    moved.expect_err("the first server is no change");
    kept.write("another token");
    let moved = tokio::time::timeout(soon, changes.next()).await;
    moved.expect_err("the same server");
    assert_eq!(kept.told(), [None, None]);
    kept.write_for("http://127.0.0.1:2", "another token");
    let moved = tokio::time::timeout(soon, changes.next()).await;
    moved.expect("another server");
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_gives_the_same_expired_credential_is_no_news_and_run_less_often() {
    let connection = Connection::pending(Arc::default());
    let (mut known, told) = (Known::default(), Mutex::new(0));
    let report = |_: Option<&str>| *told.lock().expect("no panic") += 1;
    let changed = connection.0.state.subscribe();
    let mut waits = Vec::new();
    for _ in 0..10 {
        let connected = Connected {
            client: Client::new(
                tower::service_fn(|_| async {
                    Ok::<_, kube::Error>(http::Response::new(kube::client::Body::empty()))
                }),
                "default",
            ),
            expires: Some(Timestamp::UNIX_EPOCH),
            credential_expires: None,
            digest: [1; 32],
            server: [2; 32],
        };
        connection.made(&mut known, [3; 32], connected, &report);
        waits.push(known.due.expect("it expires") - Instant::now());
    }
    assert_eq!(*told.lock().expect("no panic"), 1);
    assert!(changed.has_changed().expect("a sender"));
    let seconds: Vec<_> = waits.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [5, 5, 5, 8, 16, 32, 64, 128, 256, 300]);
}

#[test]
fn a_plugin_whose_credential_is_refused_is_run_less_and_less_often() {
    let seconds = |refusals| plugin_backoff(refusals).as_secs();
    assert_eq!([0, 1, 2, 3].map(seconds), [1, 2, 4, 8]);
    assert_eq!([9, 10, u32::MAX].map(seconds), [300, 300, 300]);
}
