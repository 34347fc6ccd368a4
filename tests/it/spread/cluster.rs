//! Slurm and Kubernetes, as far as no cluster is needed.

use serde_json::Value;

use super::{run, said, trials};
use crate::common::{KNEEPOINT, MockBench};

#[test]
fn without_slurm_nothing_is_begun_and_a_refusal_is_in_slurm_s_words() {
    let bench = MockBench::new("");
    let tools = bench.dir.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let path = |with_tools: bool| {
        let usual = "/usr/local/sbin:/bin";
        if with_tools { format!("{}:{usual}", tools.display()) } else { String::from("/nowhere") }
    };
    let submit = |with_tools: bool| {
        let mut command = bench.command(&["run", "suite.toml", "--on", "slurm", "--partition", "gpu"]);
        let out = command
            .env("PATH", path(with_tools))
            .env("KNEEPOINT_PYTHON", "/usr/bin/python3")
            .output()
            .unwrap();
        (out.status.code(), said(&out))
    };
    let (code, text) = submit(false);
    assert!(
        code == Some(2) && text.contains("`sbatch` cannot be run here") && text.contains("--dry-run"),
        "{text}"
    );
    let sbatch = tools.join("sbatch");
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && exit 0\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n";
    std::fs::write(&sbatch, script).unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&sbatch, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (code, text) = submit(true);
    assert!(
        code == Some(1) && text.contains("invalid partition specified: gpu") && text.contains("--partition"),
        "{text}"
    );
    let runs = std::fs::read_dir(bench.dir.path().join("runs"));
    assert_eq!(runs.map_or(0, Iterator::count), 0, "no run is left that nobody measures");
}

#[test]
fn the_batch_script_is_printed_and_nothing_begins() {
    let bench = MockBench::new("");
    let args = [
        "run",
        "suite.toml",
        "--on",
        "slurm",
        "--partition",
        "gpu",
        "--tasks",
        "2",
        "--sbatch=--gres=gpu:1",
        "--dry-run",
    ];
    let out = run(&bench, &args);
    assert!(out.status.success(), "{}", said(&out));
    let script = String::from_utf8(out.stdout.clone()).unwrap();
    for line in
        ["#SBATCH --array=0-1", "#SBATCH --requeue", "#SBATCH --partition=gpu", "#SBATCH --gres=gpu:1"]
    {
        assert!(script.lines().any(|known| known == line), "{line}\n{script}");
    }
    assert!(script.contains(&format!("exec {KNEEPOINT} worker ")), "{script}");
    assert!(said(&out).contains("worker 1: 9 trials"), "{}", said(&out));
    assert!(!bench.dir.path().join("runs").exists());
}

/// The manifests of a run with everything that can be asked for.
pub(crate) fn manifests(bench: &MockBench) -> String {
    let words = "run suite.toml --on kubernetes --dry-run --tasks 2 --image registry.example/kneepoint:0.2.0 --runs-claim runs \
                 --models-claim models --gpu-resource amd.com/gpu --gpus-per-task 2 --cpus-per-task 8 --node-selector gpu.model=h200 \
                 --namespace bench --set seed=7 --filter task=retrieval/*";
    let out = run(bench, &words.split_whitespace().collect::<Vec<_>>());
    assert!(out.status.success(), "{}", said(&out));
    String::from_utf8(out.stdout).unwrap()
}

#[test]
fn the_manifests_are_an_indexed_job_and_its_suite() {
    let bench = MockBench::new("");
    let text = manifests(&bench);
    let documents: Vec<Value> =
        text.split("\n---\n").map(|text| serde_norway::from_str(text).unwrap()).collect();
    let [suite, job] = documents.as_slice() else { panic!("{text}") };
    assert_eq!(suite["kind"], "ConfigMap");
    let written = std::fs::read_to_string(bench.dir.path().join("suite.toml")).unwrap();
    assert_eq!(suite["data"]["suite.toml"], written);
    let spec = &job["spec"];
    assert_eq!((&spec["completionMode"], &spec["completions"]), (&"Indexed".into(), &2.into()));
    let pod = &spec["template"]["spec"];
    assert_eq!(pod["nodeSelector"]["gpu.model"], "h200");
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["limits"]["amd.com/gpu"], "2");
    let claims: Vec<&Value> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| &volume["persistentVolumeClaim"]["claimName"])
        .collect();
    assert_eq!(claims, [&Value::Null, &"runs".into(), &"models".into()]);
    let words: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let words = words.join(" ");
    assert!(words.contains("--index $(JOB_COMPLETION_INDEX) --suite /suite/suite.toml --tasks 2"), "{words}");
    assert!(words.ends_with("--set seed=7 --filter task=retrieval/*"), "{words}");
    assert!(!bench.dir.path().join("runs").exists());
}

/// What a pod runs, as the job says: the run is begun once, whoever comes first.
#[test]
fn pods_that_start_at_once_begin_one_run() {
    let bench = MockBench::new("");
    let name = "20260101T000000Z-mock-0a1b2c";
    let pod = |index: &str| {
        let mut command =
            bench.command(&["worker", name, "--index", index, "--suite", "suite.toml", "--tasks", "2"]);
        command.env("KNEEPOINT_NODE", format!("node-{index}")).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let pods = [pod("0"), pod("1")];
    for pod in pods {
        let out = pod.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
    }
    let folder = bench.dir.path().join("runs").join(name);
    let measured = trials(&folder);
    assert_eq!((measured.len(), measured.values().all(|times| times.len() == 1)), (18, true));
    assert_eq!(std::fs::read_dir(bench.dir.path().join("runs/.begin")).unwrap().count(), 0);
    let out = bench.command(&["report", name]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
}

/// The manifests against the schemas of the Kubernetes API: `KNEEPOINT_KUBERNETES_VALIDATE` names the folder that the Python package
/// kubernetes-validate lies in (.ci/run installs it).
#[test]
#[ignore = "needs the Python package kubernetes-validate; .ci/run has it"]
fn kubernetes_schemas_hold() {
    let folder = std::env::var("KNEEPOINT_KUBERNETES_VALIDATE").unwrap();
    let bench = MockBench::new("");
    let file = bench.dir.path().join("job.yaml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let program = "import sys, yaml, kubernetes_validate as v\n\
                       docs = list(yaml.safe_load_all(open(sys.argv[1])))\n\
                       assert len(docs) == 2\n\
                       [v.validate(d, sys.argv[2], strict=True) for d in docs]";
        let mut failed = Vec::new();
        for version in ["1.24", "1.31"] {
            let out = std::process::Command::new("python3")
                .args(["-c", program])
                .arg(&file)
                .arg(version)
                .env("PYTHONPATH", &folder)
                .output()
                .unwrap();
            if !out.status.success() {
                failed.push(said(&out));
            }
        }
        failed
    };
    let text = manifests(&bench);
    assert_eq!(check(&text), Vec::<String>::new(), "{text}");
    // The check can fail.
    for (right, wrong) in [("completions: 2", "completions: \"two\""), ("nodeSelector", "nodeSelectors")] {
        let broken = text.replace(right, wrong);
        assert!(broken != text && !check(&broken).is_empty(), "{wrong}");
    }
}
