//! `rialto key`: who else may spend at the local door, and how much a day.
//!
//! A node that runs sees every change at once.

use anyhow::Result;
use rialto_gateway::client::Allowances;
use rialto_gateway::{Key, Keys};
use serde_json::{Value, json};

use crate::args::{KeyCommand, KeyOptions};
use crate::show::{self, money};
use crate::{doors, home};

/// Runs `rialto key`.
pub(crate) fn run(command: KeyCommand) -> Result<()> {
    match command {
        KeyCommand::New {
            name,
            budget,
            models,
            options,
        } => {
            let (key, secret) = keys(&options)?.issue(&name, budget.0, models)?;
            if options.json {
                let mut told = record(&key);
                told["key"] = secret.into();
                show::json(&told);
                return Ok(());
            }
            show::line(&secret);
            show::note(format!(
                "keep it: it is shown this once. `{name}` may spend {} a day",
                money(budget.0)
            ));
            show::note(format!(
                "use it: OPENAI_BASE_URL=http://{}/v1 OPENAI_API_KEY=rk_…",
                doors::USUAL
            ));
            Ok(())
        }
        KeyCommand::List { options } => list(&options),
        KeyCommand::Budget {
            name,
            budget,
            options,
        } => {
            let key = keys(&options)?.set_budget(&name, budget.0)?;
            told(&options, &key, || {
                format!("`{name}` may spend {} a day now", money(key.budget()))
            })
        }
        KeyCommand::Revoke { name, options } => {
            let key = keys(&options)?.revoke(&name)?;
            told(&options, &key, || {
                format!("`{name}` opens nothing any more")
            })
        }
    }
}

fn list(options: &KeyOptions) -> Result<()> {
    let all = keys(options)?.all()?;
    let data_dir = home::data_dir(options.data_dir.as_deref())?;
    let spending = Allowances::today(&Keys::folder(&data_dir))?;
    let spent = |key: &Key| {
        let mut entries = spending.entries();
        let own = entries.find(|(who, _)| *who == key.id());
        own.map_or_else(Default::default, |(_, spent)| spent)
    };
    if options.json {
        let keys = all.iter().map(|key| {
            let mut told = record(key);
            told["spent_today"] = spent(key).to_string().into();
            told
        });
        show::json(&json!({
            "keys": keys.collect::<Vec<_>>(),
            "spent_today": spending.total().to_string(),
        }));
        return Ok(());
    }
    let mut table = show::table(&["key", "budget a day", "spent today", "models", "made"]);
    for key in &all {
        let models = key.models.as_ref();
        let models = models.map_or_else(|| "all".to_owned(), |models| models.join(", "));
        table.add_row([
            key.name.clone(),
            money(key.budget()),
            money(spent(key)),
            models,
            show::moment(key.created),
        ]);
    }
    show::line(table.to_string());
    show::line(format!(
        "the local door spent {} today, with and without keys",
        money(spending.total())
    ));
    if all.is_empty() {
        show::line("make one: rialto key new NAME --budget 0.50");
    }
    Ok(())
}

fn keys(options: &KeyOptions) -> Result<Keys> {
    Ok(Keys::of(&home::data_dir(options.data_dir.as_deref())?))
}

fn told(options: &KeyOptions, key: &Key, text: impl FnOnce() -> String) -> Result<()> {
    if options.json {
        show::json(&record(key));
    } else {
        show::line(text());
    }
    Ok(())
}

fn record(key: &Key) -> Value {
    json!({
        "name": key.name,
        "budget": key.budget().to_string(),
        "models": key.models,
        "created": key.created,
    })
}
