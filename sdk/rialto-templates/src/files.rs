//! The files of each language's project, as they lie in `templates/`.

use crate::Language;

/// A path in the project and the text with its blanks.
type Blank = (&'static str, &'static str);

/// The files of a language's project.
pub(crate) fn of(language: Language) -> impl Iterator<Item = Blank> {
    let (own, shared): (&[Blank], &[Blank]) = match language {
        Language::Rust => (RUST, &[]),
        Language::JavaScript => (JAVASCRIPT, WIT),
        Language::Python => (PYTHON, WIT),
    };
    own.iter().chain(shared).chain(MANIFEST).copied()
}

/// What the manifest grants beyond `log`: the standard library of Rust imports WASI whatever a service
/// does, the other toolchains do without.
pub(crate) const fn grants(language: Language) -> &'static str {
    match language {
        Language::Rust => {
            "# The standard library's own imports; none gives any power.\n\
             wasi = [\"cli\", \"io\", \"clocks\", \"random\", \"filesystem\"]\n"
        }
        Language::JavaScript | Language::Python => "",
    }
}

const MANIFEST: &[Blank] = &[("service.toml", include_str!("../templates/service.toml"))];

/// The interface, and those of the host that it can import.
const WIT: &[Blank] = &[
    ("wit/world.wit", include_str!("../templates/world.wit")),
    (
        "wit/deps/rialto-service/service.wit",
        include_str!("../../../wit/service/service.wit"),
    ),
    (
        "wit/deps/rialto-mesh/calls.wit",
        include_str!("../../../wit/mesh/calls.wit"),
    ),
    (
        "wit/deps/rialto-tensor/devices.wit",
        include_str!("../../../wit/tensor/devices.wit"),
    ),
    (
        "wit/deps/rialto-tensor/generation.wit",
        include_str!("../../../wit/tensor/generation.wit"),
    ),
    (
        "wit/deps/rialto-tensor/operations.wit",
        include_str!("../../../wit/tensor/operations.wit"),
    ),
    (
        "wit/deps/rialto-tensor/tensor.wit",
        include_str!("../../../wit/tensor/tensor.wit"),
    ),
];

const RUST: &[Blank] = &[
    (".gitignore", include_str!("../templates/rust/gitignore")),
    (
        "Cargo.toml",
        include_str!("../templates/rust/Cargo.toml.in"),
    ),
    ("README.md", include_str!("../templates/rust/README.md")),
    ("build.sh", include_str!("../templates/rust/build.sh")),
    ("src/lib.rs", include_str!("../templates/rust/lib.rs")),
];

const JAVASCRIPT: &[Blank] = &[
    (
        ".gitignore",
        include_str!("../templates/javascript/gitignore"),
    ),
    (
        "README.md",
        include_str!("../templates/javascript/README.md"),
    ),
    (
        "build.mjs",
        include_str!("../templates/javascript/build.mjs"),
    ),
    (
        "measure.js",
        include_str!("../templates/javascript/measure.js"),
    ),
    (
        "measure.test.js",
        include_str!("../templates/javascript/measure.test.js"),
    ),
    (
        "package.json",
        include_str!("../templates/javascript/package.json"),
    ),
    (
        "package-lock.json",
        include_str!("../templates/javascript/package-lock.json"),
    ),
    (
        "service.js",
        include_str!("../templates/javascript/service.js"),
    ),
];

const PYTHON: &[Blank] = &[
    (".gitignore", include_str!("../templates/python/gitignore")),
    ("README.md", include_str!("../templates/python/README.md")),
    ("build.py", include_str!("../templates/python/build.py")),
    ("measure.py", include_str!("../templates/python/measure.py")),
    (
        "requirements.txt",
        include_str!("../templates/python/requirements.txt"),
    ),
    ("service.py", include_str!("../templates/python/service.py")),
    (
        "test_measure.py",
        include_str!("../templates/python/test_measure.py"),
    ),
];
