//! `run --on kubernetes`: an Indexed Job whose pods are the workers.
//!
//! Field names and their meaning are those of the Kubernetes API v1.24 and later (batch/v1 Job, core/v1 ConfigMap):
//! <https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/>. Nothing of the run lies in the cluster's
//! store but the suite: journals are files on the volume of the runs.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::again::Again;
use super::shares::Missing;
use super::tasks::{shares_in_words, tasks};
use super::yaml;
use crate::cli::{Global, PodArgs, RunArgs};
use crate::commands::output::print;
use crate::console;
use crate::error::{Context, EXIT_OK, Error, Result};
use crate::record::plan::Plan;
use crate::record::short_hash;
use crate::record::suite::Suite;

/// Where pods see the volume of the runs.
const RUNS: &str = "/runs";
/// Where pods see the volume of the models.
const MODELS: &str = "/models";
/// Where pods see the suite.
const SUITE: &str = "/suite";
/// Name of the suite's file there.
const SUITE_FILE: &str = "suite.toml";
/// Most bytes that a ConfigMap holds.
const MOST_BYTES: usize = 1 << 20;
/// How often a pod that ends badly is started again.
const RETRIES: u32 = 6;
/// Seconds that a pod has to end after its trial.
const GRACE_S: u32 = 120;

pub(super) fn run(suite: &Suite, plan: &Plan, args: &RunArgs, global: &Global) -> Result<u8> {
    let job = Job::new(suite, tasks(suite, plan, args), args)?;
    let manifests = job.manifests();
    if args.spread.wait {
        return Err(Error::usage(
            "--wait is for Slurm: nothing of a run on Kubernetes can be seen from here",
        )
        .hint("`kubectl wait --for=condition=complete job/NAME` waits"));
    }
    if args.dry_run {
        print(&manifests)?;
        console::note(shares_in_words(suite, plan, job.workers, |_| String::new()).trim_end());
        return Ok(EXIT_OK);
    }
    create(&manifests)?;
    print(&format!("{}\n", job.run))?;
    console::note(&format!(
        "created job {} with {} pods\n\nhint: where the volume of the runs is mounted, `kneepoint report {}` shows what there \
         is at any time",
        job.name, job.workers, job.run
    ));
    let _ = global;
    Ok(EXIT_OK)
}

pub(super) fn resume(again: &Again<'_>, missing: &[Missing]) -> Result<u8> {
    let trials: usize = missing.iter().map(|missing| missing.trials).sum();
    let indexes: Vec<String> = missing.iter().take(10).map(|missing| missing.index.to_string()).collect();
    let first = indexes.first().cloned().unwrap_or_default();
    Err(Error::usage(format!(
        "{trials} trials of run {} are missing, of the shares {}: its job on Kubernetes measures them",
        again.run.header.run,
        indexes.join(", ")
    ))
    .hint("delete the job and create it again from the same manifest: its pods go on in their journals")
    .hint(format!("`kneepoint worker RUN --index {first}` measures a share here")))
}

/// What is created.
struct Job<'a> {
    /// Name of the objects.
    name: String,
    /// Name of the run's folder.
    run: String,
    workers: u32,
    /// The suite's text.
    text: String,
    image: &'a str,
    pods: &'a PodArgs,
    args: &'a RunArgs,
    selector: Vec<(&'a str, &'a str)>,
}

impl<'a> Job<'a> {
    fn new(suite: &Suite, workers: u32, args: &'a RunArgs) -> Result<Self> {
        let text = std::fs::read_to_string(&args.suite)
            .context(|| format!("cannot read {}", args.suite.display()))?;
        if text.len() > MOST_BYTES {
            return Err(Error::usage(format!(
                "{} is too long for a ConfigMap (1 MiB)",
                args.suite.display()
            )));
        }
        if !args.spread.sbatch.is_empty() || args.spread.partition.is_some() {
            return Err(Error::usage("--partition and --sbatch are for Slurm")
                .hint("--node-selector LABEL=VALUE chooses nodes of Kubernetes"));
        }
        let pods = &args.spread.pods;
        let image = pods.image.as_deref().ok_or_else(|| {
            Error::usage("--on kubernetes needs the image of its pods: --image IMAGE")
                .hint("it holds kneepoint, and the engine's server where the suite names its binary; docs/machines.md has an example")
        })?;
        let selector = pods.node_selector.iter().map(|word| label(word)).collect::<Result<_>>()?;
        let stamp = crate::clock::folder_stamp();
        let id = short_hash(format!("{text}{stamp}{}", std::process::id()).as_bytes());
        let id = id.get(..6).unwrap_or(&id).to_owned();
        let run = format!("{stamp}-{}-{id}", suite.name);
        Ok(Self { name: object_name(&suite.name, &id), run, workers, text, image, pods, args, selector })
    }

    /// The suite and the job, as YAML.
    fn manifests(&self) -> String {
        let (suite, job) = (yaml::document(&self.config_map()), yaml::document(&self.job()));
        format!("{suite}\n---\n{job}\n")
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({ "name": self.name, "labels": { "app.kubernetes.io/name": "kneepoint" } });
        if let (Some(namespace), Value::Object(fields)) = (&self.pods.namespace, &mut metadata) {
            fields.insert("namespace".into(), json!(namespace));
        }
        metadata
    }

    fn config_map(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": self.metadata(),
            "data": { SUITE_FILE: self.text },
        })
    }

    fn job(&self) -> Value {
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": self.metadata(),
            "spec": {
                "completionMode": "Indexed",
                "completions": self.workers,
                "parallelism": self.workers,
                "backoffLimit": RETRIES.saturating_mul(self.workers),
                "template": {
                    "metadata": { "labels": { "app.kubernetes.io/name": "kneepoint" } },
                    "spec": self.pod(),
                },
            },
        })
    }

    fn pod(&self) -> Value {
        let mut spec = json!({
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE_S,
            "containers": [self.container()],
            "volumes": self.volumes(),
        });
        if let Value::Object(fields) = &mut spec
            && !self.selector.is_empty()
        {
            let labels: serde_json::Map<String, Value> =
                self.selector.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            fields.insert("nodeSelector".into(), Value::Object(labels));
        }
        spec
    }

    fn container(&self) -> Value {
        let mut container = json!({
            "name": "kneepoint",
            "image": self.image,
            "command": ["kneepoint"],
            "args": self.words(),
            "env": self.environment(),
            "volumeMounts": self.mounts(),
        });
        let limits = self.limits();
        if let Value::Object(fields) = &mut container
            && !limits.is_empty()
        {
            fields.insert("resources".into(), json!({ "limits": limits }));
        }
        container
    }

    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = vec!["worker".into(), self.run.clone()];
        // Kubernetes puts the number in.
        words.extend(["--index".into(), "$(JOB_COMPLETION_INDEX)".into()]);
        words.extend(["--suite".into(), format!("{SUITE}/{SUITE_FILE}")]);
        words.extend(["--tasks".into(), self.workers.to_string(), "--runs-dir".into(), RUNS.into()]);
        let sets = self.args.overrides();
        words.extend(sets.iter().flat_map(|set| ["--set".to_owned(), verbatim(set)]));
        words.extend(self.args.filters.iter().flat_map(|filter| ["--filter".to_owned(), verbatim(filter)]));
        words
    }

    fn environment(&self) -> Value {
        let mut variables = vec![
            // The job's controller annotates the pod with its number.
            json!({ "name": "JOB_COMPLETION_INDEX", "valueFrom": { "fieldRef": {
                "fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']" } } }),
            json!({ "name": "KNEEPOINT_NODE", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }),
        ];
        if self.pods.models_claim.is_some() {
            variables.push(json!({ "name": "KNEEPOINT_CACHE_DIR", "value": format!("{MODELS}/.kneepoint") }));
        }
        if let Some(cpus) = self.pods.cpus_per_task {
            variables.push(json!({ "name": "LLAMA_ARG_THREADS", "value": cpus.to_string() }));
        }
        Value::Array(variables)
    }

    fn limits(&self) -> serde_json::Map<String, Value> {
        let mut limits = serde_json::Map::new();
        let cards = self.pods.gpus_per_task.unwrap_or(1);
        if cards > 0 {
            let resource = self.pods.gpu_resource.as_deref().unwrap_or("nvidia.com/gpu");
            limits.insert(resource.to_owned(), json!(cards.to_string()));
        }
        if let Some(cpus) = self.pods.cpus_per_task {
            limits.insert("cpu".to_owned(), json!(cpus.to_string()));
        }
        limits
    }

    fn mounts(&self) -> Value {
        let mut mounts = vec![
            json!({ "name": "suite", "mountPath": SUITE, "readOnly": true }),
            json!({ "name": "runs", "mountPath": RUNS }),
        ];
        if self.pods.models_claim.is_some() {
            mounts.push(json!({ "name": "models", "mountPath": MODELS }));
        }
        Value::Array(mounts)
    }

    fn volumes(&self) -> Value {
        let claim = |name: &str| json!({ "claimName": name });
        let runs = self.pods.runs_claim.as_deref().unwrap_or("kneepoint-runs");
        let mut volumes = vec![
            json!({ "name": "suite", "configMap": { "name": self.name } }),
            json!({ "name": "runs", "persistentVolumeClaim": claim(runs) }),
        ];
        if let Some(models) = &self.pods.models_claim {
            volumes.push(json!({ "name": "models", "persistentVolumeClaim": claim(models) }));
        }
        Value::Array(volumes)
    }
}

/// A word that Kubernetes puts no variable into: `$$` is its way to write `$`.
fn verbatim(word: &str) -> String {
    word.replace("$(", "$$(")
}

/// `LABEL=VALUE` of a node.
fn label(word: &str) -> Result<(&str, &str)> {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let fits = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    if word.contains('=') && !name.is_empty() && fits(name) && fits(value) && value.len() <= 63 {
        return Ok((name, value));
    }
    Err(Error::usage(format!("--node-selector {word}: not a LABEL=VALUE"))
        .hint("such as --node-selector gpu.model=h200"))
}

/// A name that Kubernetes takes: small letters, digits and dashes, at most 63 of them with what it adds for each pod.
fn object_name(suite: &str, id: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = suite.chars().map(safe).take(30).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { format!("kneepoint-{id}") } else { format!("kneepoint-{name}-{id}") }
}

/// Creates the objects with kubectl.
///
/// # Errors
/// When there is no kubectl, or the cluster refuses.
fn create(manifests: &str) -> Result<()> {
    let started = Command::new("kubectl")
        .args(["create", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut kubectl = started.map_err(|source| {
        Error::usage("`kubectl` cannot be run here")
            .with_source(source)
            .hint("`--dry-run` prints the manifests, to be created elsewhere")
    })?;
    if let Some(mut input) = kubectl.stdin.take() {
        // One that does not read says why below.
        let _ = input.write_all(manifests.as_bytes());
    }
    let out = kubectl.wait_with_output().context(|| "cannot wait for kubectl".into())?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(Error::runtime(format!("Kubernetes refuses the job: {}", said.trim()))
        .hint("`kubectl auth can-i create jobs` says whether you may")
        .hint("`--dry-run` prints the manifests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        assert_eq!(object_name("Quick_Start.v2", "0a1b2c"), "kneepoint-quick-start-v2-0a1b2c");
        assert_eq!(object_name("___", "0a1b2c"), "kneepoint-0a1b2c");
        assert!(object_name(&"x".repeat(100), "0a1b2c").len() <= 52);
    }

    #[test]
    fn selectors_and_words_are_checked() {
        assert_eq!(label("gpu.model=h200").unwrap(), ("gpu.model", "h200"));
        assert!(label("gpu").is_err() && label("=x").is_err() && label("a=b c").is_err());
        assert_eq!(verbatim("a=$(HOME)"), "a=$$(HOME)");
    }
}
