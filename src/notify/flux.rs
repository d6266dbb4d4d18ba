//! Flux events: a POST to notification-controller, as Flux's own controllers send theirs
//! (`fluxcd/pkg:runtime/events/recorder.go`). The Alerts of the users carry them.

use std::{fmt, sync::Arc, time::Duration};

use axum::body::Body;
use http::{Request, StatusCode, Uri, header};
use serde_json::json;
use tokio::time::timeout;
use tower::{Service, ServiceExt};

use super::Undelivered;
use crate::{
    domain::{
        mask::mask,
        report::{Notice, Severity},
    },
    http_client::{self, Transport},
};

/// The time for one try, as `fluxcd/pkg:runtime/events/recorder.go` has it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// A notification-controller.
#[derive(Clone)]
pub struct FluxReceiver {
    address: Uri,
    transport: Arc<Transport>,
}

impl fmt::Debug for FluxReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FluxReceiver({})", self.address)
    }
}

impl FluxReceiver {
    /// The notification-controller at an address such as
    /// `http://notification-controller.flux-system.svc.cluster.local./`.
    ///
    /// # Errors
    /// The TLS configuration of this process cannot be made.
    pub fn at(address: Uri) -> Result<Self, String> {
        let transport = http_client::transport(&address)?;
        Ok(Self::with(address, transport))
    }

    /// The same, over a transport of the caller.
    pub fn with(address: Uri, transport: Transport) -> Self {
        Self {
            address,
            transport: Arc::new(transport),
        }
    }

    /// Sends an event. 202 says that it was taken, and 429 that it was taken before: it is a duplicate.
    pub(super) async fn post(&self, notice: &Notice, instance: &str) -> Result<(), Undelivered> {
        let (address, advice) = (
            &self.address,
            "check eventsAddr, and that a network policy lets helmreboot reach port 9090 of notification-controller",
        );
        let undelivered = |problem: String, transient| Undelivered {
            problem,
            transient,
            gone: false,
        };
        let request = self
            .request(notice, instance)
            .map_err(|error| undelivered(error.to_string(), false))?;
        let mut transport = (*self.transport).clone();
        let exchange = async { transport.ready().await?.call(request).await };
        let answer = match timeout(TIMEOUT, exchange).await {
            Err(_) => {
                let seconds = TIMEOUT.as_secs();
                let problem = format!("no answer from {address} within {seconds} s; {advice}");
                return Err(undelivered(problem, true));
            }
            Ok(Err(error)) => {
                let error = mask(&error.to_string(), 300);
                let problem = format!("cannot reach {address}: {error}; {advice}");
                return Err(undelivered(problem, true));
            }
            Ok(Ok(answer)) => answer.status(),
        };
        if answer.is_success() || answer == StatusCode::TOO_MANY_REQUESTS {
            return Ok(());
        }
        let problem = format!("{address} answered {answer}; {advice}");
        Err(undelivered(problem, answer.is_server_error()))
    }

    fn request(&self, notice: &Notice, instance: &str) -> http::Result<Request<Body>> {
        let object = &notice.object;
        let severity = notice.severity.unwrap_or(Severity::Info);
        let event = json!({
            "involvedObject": {"apiVersion": object.api_version, "kind": "HelmRelease",
                "namespace": object.namespace, "name": object.name, "uid": object.uid,
                "resourceVersion": object.resource_version},
            "severity": severity.as_str(),
            "timestamp": format!("{:.0}", notice.at),
            "message": notice.message,
            "reason": notice.reason,
            "metadata": notice.metadata,
            "reportingController": "helmreboot",
            "reportingInstance": instance,
        });
        Request::post(&self.address)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(event.to_string()))
    }
}
