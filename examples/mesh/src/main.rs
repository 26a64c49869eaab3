//! Three replicas of a real knowledge graph part, go on editing, and meet again on a bad line.
//!
//! A laptop imports the animals of WordNet, a phone and a server get them as bytes. Cut apart, each makes some hundred
//! edits that collide with those of the others. Then they exchange deltas: out of order, lost, repeated, too early,
//! refused for pruned tombstones. In the end all three are equal, and equal to what follows from the list of all edits
//! by definition, computed a second time without any merge.
//!
//! | file | idea |
//! |---|---|
//! | `args` | the command line |
//! | `source`, `import` | a file, line by line; a graph, transaction by transaction |
//! | `catalog`, `op` | what things are called; one step of an edit as data |
//! | `mesh` | the replicas, their clocks, and the list of all edits |
//! | `editor`, `random` | somebody at work; chance that follows from a seed |
//! | `exchange`, `story` | bytes between two replicas; what happens, in order |
//! | `model`, `check` | what must be there by definition; whether it is |
//! | `report`, `json`, `dot`, `words`, `progress` | telling it |

mod args;
mod catalog;
mod check;
mod dot;
mod editor;
mod exchange;
mod import;
mod json;
mod mesh;
mod model;
mod op;
mod progress;
mod random;
mod report;
mod source;
mod story;
mod words;

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use args::Args;
use check::Totals;
use editor::Editor;
use import::{IMPORTER, Imported};
use mesh::{Mesh, NAMES, PEERS, Seen};
use model::Model;
use random::Random;
use source::Source;
use story::{Story, Teller};

/// Everything that there is to tell.
struct Outcome {
    seed: u64,
    file: FileFacts,
    imported: Imported,
    imported_writes: u64,
    story: Story,
    mesh: Mesh,
    verdict: Verdict,
    totals: Totals,
    /// How many writes each replica made, by the recomputation.
    model_version: Seen,
    differences: Vec<String>,
    replayed: Duration,
    compared: Duration,
}

struct FileFacts {
    name: String,
    bytes: usize,
    lines: usize,
}

/// Whether the replicas are equal, each in its own way of looking.
struct Verdict {
    states: bool,
    versions: bool,
    fingerprints: bool,
}

impl Outcome {
    fn is_good(&self) -> bool {
        let Verdict { states, versions, fingerprints } = self.verdict;
        states && versions && fingerprints && self.differences.is_empty()
    }
}

fn main() -> ExitCode {
    let args = match Args::parse() {
        Ok(args) => args,
        Err(error) => {
            eprintln!("mesh: {error}; --help tells what there is");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mesh: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything is equal.
fn run(args: &Args) -> Result<bool, Box<dyn Error>> {
    if args.help {
        print(args::HELP)?;
        return Ok(true);
    }
    let outcome = play(args)?;
    outcome.differences.iter().take(20).for_each(|difference| eprintln!("mesh: {difference}"));
    match args.json {
        true => print(&format!("{:#}\n", json::json(&outcome)))?,
        false => print(&report::text(&outcome))?,
    }
    if let Some(path) = &args.dot {
        let dot = dot::dot(&outcome).ok_or("there is no conflict at a concept to draw")?;
        std::fs::write(path, dot).map_err(|error| format!("{}: cannot be written ({error})", path.display()))?;
    }
    Ok(outcome.is_good())
}

/// To standard output; that nobody listens any longer is no error.
fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

fn play(args: &Args) -> Result<Outcome, Box<dyn Error>> {
    let mut source = Source::open(&args.data)?;
    let mut mesh = Mesh::new(args.seed);
    let (imported, messages) = import::import(&mut source, &mut mesh)?;
    let imported_writes = mesh.heard[IMPORTER][IMPORTER];

    let mut random = Random::new(args.seed);
    let editor = Editor::new(Random::new(random.next()), &mesh, IMPORTER);
    let mut teller = Teller { mesh: &mut mesh, editor, random, story: Story::default() };
    let spinner = progress::spinner();
    spinner.set_message("bringing up the others");
    teller.bring_up(&messages)?;
    drop(messages);
    spinner.set_message("editing and healing");
    let kept = teller.cut_apart(args.edits)?;
    teller.heal(&kept)?;
    teller.edit_on_a_bad_line(args.edits / 2)?;
    teller.send_again(&kept)?;
    teller.settle()?;
    teller.tidy_up();
    let story = teller.story;

    spinner.set_message("recomputing by definition");
    let start = Instant::now();
    let model = Model::replay(&mesh.log, mesh.ids(), &mesh.catalog)?;
    let totals = Totals::of_model(&model);
    let replayed = start.elapsed();
    spinner.set_message("comparing");
    let start = Instant::now();
    let differences = compare(&mesh, &model, &totals);
    let compared = start.elapsed();
    let verdict = Verdict::of(&mesh);
    spinner.finish_and_clear();
    Ok(Outcome {
        seed: args.seed,
        file: FileFacts { name: file_name(args), bytes: source.read as usize, lines: source.lines },
        imported,
        imported_writes,
        story,
        verdict,
        totals,
        model_version: *model.version(),
        differences,
        replayed,
        compared,
        mesh,
    })
}

/// Each replica against the recomputation.
fn compare(mesh: &Mesh, model: &Model, totals: &Totals) -> Vec<String> {
    let mut found = Vec::new();
    for (who, name) in NAMES.iter().enumerate() {
        let differences = check::differences(mesh.graph(who), model, &mesh.catalog, totals);
        found.extend(differences.into_iter().map(|difference| format!("{name}: {difference}")));
        let (seen, made) = (mesh.version(who), model.version());
        if seen != *made {
            found.push(format!("{name}: has seen {seen:?} writes, and {made:?} were made"));
        }
    }
    found
}

fn file_name(args: &Args) -> String {
    args.data.file_name().unwrap_or(args.data.as_os_str()).to_string_lossy().into_owned()
}

impl Verdict {
    fn of(mesh: &Mesh) -> Self {
        let same = |is_same: &dyn Fn(usize) -> bool| (1..PEERS).all(is_same);
        let state = |who: usize| mesh.graph(who);
        let version = |who: usize| mesh.peers[who].replica.version();
        Self {
            states: same(&|who| state(who) == state(0)),
            versions: same(&|who| version(who) == version(0)),
            fingerprints: same(&|who| mesh.fingerprint(who) == mesh.fingerprint(0)),
        }
    }
}
