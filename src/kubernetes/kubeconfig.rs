//! What a kubeconfig says, with the contents of every file it refers to, as client-go reads it
//! (`k8s.io/client-go/tools/clientcmd/client_config.go`). Read again and again: everything in it may be
//! rotated.

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::config::{AuthInfo, Cluster, Config, ExecAuthCluster, ExecConfig, Kubeconfig};
use sha2::{Digest as _, Sha256};

use crate::{blocking, config::clusters::ClusterAccess};

/// The way to an API server, as it is configured now. Does not print: it holds secrets.
pub(super) struct Material {
    pub(super) server: String,
    pub(super) namespace: String,
    pub(super) proxy: Option<String>,
    pub(super) server_name: Option<String>,
    /// Nothing is asked of the server's certificate.
    pub(super) insecure: bool,
    /// PEM of the authorities; none means those of this machine.
    pub(super) authority: Option<Vec<u8>>,
    /// PEM of the client's certificate and its key.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
    pub(super) token: Option<String>,
    pub(super) basic: Option<(String, String)>,
    pub(super) impersonate: Vec<(String, String)>,
    pub(super) exec: Option<ExecConfig>,
    /// Changes when anything above does.
    pub(super) digest: Digest,
}

/// A SHA-256 digest.
pub(super) type Digest = [u8; 32];

/// Files of a pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The most bytes of a kubeconfig that is given by its path, or of a file that a kubeconfig refers to.
const FILE_LIMIT: u64 = 1 << 20;

/// Reads all there is to know about the way. Blocks.
///
/// # Errors
/// What is wrong, in which file, and what to do about it. Never repeats a secret.
pub(super) fn read(access: &ClusterAccess) -> Result<Material, String> {
    let variable = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    let asked_for = access.kubeconfig.is_some() || access.context.is_some() || variable;
    if access.in_cluster {
        return service_account();
    }
    if access.prefer_in_cluster
        && let Ok(account) = service_account()
    {
        return Ok(account);
    }
    let flag = if access.prefer_in_cluster {
        "--leader-election-kubeconfig"
    } else {
        "--kubeconfig"
    };
    let (kubeconfig, place) = match &access.kubeconfig {
        Some(path) => (read_from(path), path.display().to_string()),
        None if variable => (read_environment(), "of the variable KUBECONFIG".into()),
        None => (read_environment(), "~/.kube/config".into()),
    };
    match kubeconfig {
        Ok(kubeconfig) => material(kubeconfig, access)
            .map_err(|problem| format!("the kubeconfig {place} cannot be used: {problem}")),
        // Neither KUBECONFIG nor ~/.kube/config: in a pod that is how it should be.
        Err(problem) if !asked_for => service_account().map_err(|account| {
            format!("{account}; nor is there a kubeconfig: {problem}; name one with {flag}")
        }),
        Err(problem) => Err(format!(
            "the kubeconfig {place} cannot be read: {problem}; write the path of one, as kubectl uses it"
        )),
    }
}

fn read_from(path: &Path) -> Result<Kubeconfig, String> {
    // Checks type and size of the file, which kube does not, with an error that does not repeat the path.
    blocking::contents(path, FILE_LIMIT).map_err(|error| error.to_string())?;
    Kubeconfig::read_from(path).map_err(|error| first_line(&error))
}

/// The files of `KUBECONFIG`, merged as kubectl does, or else `~/.kube/config`.
fn read_environment() -> Result<Kubeconfig, String> {
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let mut paths: Vec<_> = std::env::split_paths(&listed)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if paths.is_empty() {
        let home = std::env::home_dir().ok_or("there is no home directory")?;
        paths.push(home.join(".kube/config"));
    }
    let mut configs = paths
        .iter()
        .map(|path| read_from(path).map_err(|problem| format!("{}: {problem}", path.display())));
    configs.try_fold(Kubeconfig::default(), |merged, config| {
        merged.merge(config?).map_err(|error| first_line(&error))
    })
}

/// The pod's own service account.
fn service_account() -> Result<Material, String> {
    let config = Config::incluster()
        .map_err(|error| format!("there is no service account here: {}", first_line(&error)))?;
    let file = |name: &str| contents(&format!("{SERVICE_ACCOUNT}/{name}"));
    let server = config.cluster_url.to_string();
    let mut material = Material::new(server, config.default_namespace);
    material.authority = Some(file("ca.crt")?);
    material.token = Some(text(file("token")?, "the token of the service account")?);
    Ok(material.sealed())
}

fn material(kubeconfig: Kubeconfig, access: &ClusterAccess) -> Result<Material, String> {
    let wanted = access
        .context
        .as_ref()
        .or(kubeconfig.current_context.as_ref())
        .filter(|name| !name.is_empty())
        .ok_or("it has no current context; set one, or name one with --context")?;
    let context = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == *wanted)
        .and_then(|named| named.context.clone())
        .ok_or_else(|| format!("it has no context {wanted}; check its contexts"))?;
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|named| named.name == context.cluster)
        .and_then(|named| named.cluster.clone())
        .ok_or_else(|| {
            let name = &context.cluster;
            format!("its context {wanted} names a cluster {name} that is not in it; add it")
        })?;
    // client-go takes a user that is not there for an anonymous one.
    let users = kubeconfig.auth_infos.into_iter();
    let user = users
        .filter(|named| Some(&named.name) == context.user.as_ref())
        .find_map(|named| named.auth_info)
        .unwrap_or_default();
    let server = cluster.server.clone().unwrap_or_default();
    if server.is_empty() {
        return Err("its cluster has no server; write its address".into());
    }
    let namespace = context.namespace.filter(|name| !name.is_empty());
    let mut material = Material::new(server, namespace.unwrap_or_else(|| "default".into()));
    material.of_cluster(&cluster, access)?;
    material.of_user(&user, &cluster, access)?;
    Ok(material.sealed())
}

impl Material {
    pub(super) fn new(server: String, namespace: String) -> Self {
        Self {
            server,
            namespace,
            proxy: None,
            server_name: None,
            insecure: false,
            authority: None,
            identity: None,
            token: None,
            basic: None,
            impersonate: Vec::new(),
            exec: None,
            digest: [0; 32],
        }
    }

    fn of_cluster(&mut self, cluster: &Cluster, access: &ClusterAccess) -> Result<(), String> {
        self.insecure = cluster.insecure_skip_tls_verify.unwrap_or_default();
        if self.insecure && !access.allow_insecure_tls {
            return Err("it does not check the server's certificate; add certificate-authority-data, or allow it with --insecure-kubeconfig-tls".into());
        }
        self.proxy = nonempty(cluster.proxy_url.as_deref());
        self.server_name = nonempty(cluster.tls_server_name.as_deref());
        self.authority = data_or_file(
            "certificate-authority",
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
        )?;
        Ok(())
    }

    fn of_user(
        &mut self,
        user: &AuthInfo,
        cluster: &Cluster,
        access: &ClusterAccess,
    ) -> Result<(), String> {
        use secrecy::ExposeSecret;
        let runs_program = user.exec.is_some() || user.auth_provider.is_some();
        if runs_program && !access.allow_exec {
            return Err("it runs a program to log in; use a token or certificate, or allow it with --insecure-kubeconfig-exec".into());
        }
        if user.auth_provider.is_some() {
            return Err("its auth-provider is one that Kubernetes clients no longer have (since 1.26); use an exec plugin, a token or a certificate".into());
        }
        // Where both are given the file wins, as in client-go; it may be rotated.
        let token = user.token.as_ref().map(|token| token.expose_secret());
        self.token = match nonempty(user.token_file.as_deref()) {
            Some(file) => Some(text(contents(&file)?, &format!("the tokenFile {file}"))?),
            None => nonempty(token.map(str::trim)),
        };
        let password = user.password.as_ref().map(|it| it.expose_secret());
        self.basic = nonempty(user.username.as_deref())
            .map(|name| (name, password.unwrap_or_default().to_owned()))
            .filter(|_| self.token.is_none());
        let certificate = data_or_file(
            "client-certificate",
            user.client_certificate_data.as_deref(),
            user.client_certificate.as_deref(),
        )?;
        let key = user.client_key_data.as_ref();
        let key = data_or_file(
            "client-key",
            key.map(|key| key.expose_secret()),
            user.client_key.as_deref(),
        )?;
        self.identity = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                return Err("its client certificate has no client-key; add it".into());
            }
            (None, Some(_)) => {
                return Err("its client key has no client-certificate; add it".into());
            }
        };
        self.impersonate(user);
        self.exec.clone_from(&user.exec);
        if let Some(exec) = self.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
            exec.cluster = Some(ExecAuthCluster {
                server: cluster.server.clone(),
                insecure_skip_tls_verify: cluster.insecure_skip_tls_verify,
                certificate_authority_data: self.authority.clone(),
                proxy_url: cluster.proxy_url.clone(),
                tls_server_name: cluster.tls_server_name.clone(),
                config: None,
            });
        }
        Ok(())
    }

    fn impersonate(&mut self, user: &AuthInfo) {
        let mut add = |name: &str, value: &str| {
            self.impersonate.push((name.to_owned(), value.to_owned()));
        };
        if let Some(name) = nonempty(user.impersonate.as_deref()) {
            add("impersonate-user", &name);
        }
        if let Some(uid) = nonempty(user.impersonate_uid.as_deref()) {
            add("impersonate-uid", &uid);
        }
        for group in user.impersonate_groups.iter().flatten() {
            add("impersonate-group", group);
        }
    }

    /// The digest of what identifies the API server.
    pub(super) fn server_digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        self.hash_server(&mut hasher);
        hasher.finalize().into()
    }

    fn hash_server(&self, hasher: &mut Sha256) {
        let name = self.server_name.as_deref().unwrap_or_default();
        part(hasher, self.server.as_bytes());
        part(hasher, self.proxy.as_deref().unwrap_or_default().as_bytes());
        part(hasher, name.as_bytes());
        part(hasher, &[u8::from(self.insecure)]);
        part(hasher, self.authority.as_deref().unwrap_or_default());
    }

    /// With the digest of all of it.
    pub(super) fn sealed(mut self) -> Self {
        let mut hasher = Sha256::new();
        self.hash_server(&mut hasher);
        let mut part = |bytes: &[u8]| part(&mut hasher, bytes);
        part(self.namespace.as_bytes());
        if let Some((certificate, key)) = &self.identity {
            part(certificate);
            part(key);
        }
        part(self.token.as_deref().unwrap_or_default().as_bytes());
        if let Some((name, password)) = &self.basic {
            part(name.as_bytes());
            part(password.as_bytes());
        }
        for (name, value) in &self.impersonate {
            part(name.as_bytes());
            part(value.as_bytes());
        }
        let exec = serde_json::to_vec(&self.exec).unwrap_or_default();
        part(&exec);
        self.digest = hasher.finalize().into();
        self
    }
}

fn part(hasher: &mut Sha256, bytes: &[u8]) {
    hasher.update(bytes.len().to_le_bytes());
    hasher.update(bytes);
}

fn nonempty(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What is given as base64, or else in a file. Base64 may be wrapped, as `base64` writes it.
fn data_or_file(
    what: &str,
    data: Option<&str>,
    file: Option<&str>,
) -> Result<Option<Vec<u8>>, String> {
    if let Some(data) = nonempty(data) {
        let bare: String = data.chars().filter(|char| !char.is_whitespace()).collect();
        let decoded = STANDARD.decode(bare);
        return decoded
            .map(Some)
            .map_err(|_| format!("its {what}-data is not base64; encode the PEM again"));
    }
    nonempty(file).map(|file| contents(&file)).transpose()
}

fn contents(file: &str) -> Result<Vec<u8>, String> {
    blocking::contents(Path::new(file), FILE_LIMIT).map_err(|error| {
        format!("cannot read {file}: {error}; bring the file back, or name another")
    })
}

fn text(bytes: Vec<u8>, what: &str) -> Result<String, String> {
    let text =
        String::from_utf8(bytes).map_err(|_| format!("{what} is not text; write it again"))?;
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(format!("{what} is empty; put the token into it"));
    }
    Ok(trimmed.to_owned())
}

/// What is wrong, without the lines around it: a parser shows them, and they may hold a token.
fn first_line(error: &dyn std::error::Error) -> String {
    let said = error.to_string();
    said.lines().next().unwrap_or_default().to_owned()
}
