//! The report as Markdown: llama-bench's table, then what follows from it.

use super::table::Table;
use crate::arithmetic::statistics::Median;
use crate::arithmetic::units;
use crate::bench::{Accepted, Batches, Derived, Drafts, How, Measurement, Memory, Report, StepCosts, System};

pub(super) fn report(report: &Report) -> String {
    let Report { rows, derived, system } = report;
    let Derived { step_costs, batches, drafts, memory, .. } = derived;
    let parts = [
        runs(rows),
        ratios(derived),
        steps(step_costs),
        self::batches(batches),
        drafts.as_ref().map(self::drafts).unwrap_or_default(),
        memory.as_ref().map(self::memory).unwrap_or_default(),
        self::system(system),
    ];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("\n")
}

fn runs(rows: &[Measurement]) -> String {
    let on_cpu = rows.iter().all(|row| row.machine.backends == "CPU");
    let mut names = vec!["model", "size", "params", "backend", "threads", "role", "test", "t/s"];
    if !on_cpu {
        names.insert(4, "ngl");
    }
    let mut table = Table::new(names, &["backend", "role"]);
    for row in rows {
        let models = &row.models;
        let n_layers = models.source.model.gpu_layers();
        let role = match row.how {
            How::Alone(_) => models.role.clone(),
            // A prompt is read one way.
            _ if row.n_gen == 0 => models.role.clone(),
            how => format!("{}, {}", models.role, how.name()),
        };
        let (mean, deviation) = row.speed();
        let mut cells = vec![
            models.kind.clone(),
            units::bytes(models.n_bytes),
            units::parameters(models.n_params),
            row.machine.backends.clone(),
            models.source.context.n_threads.to_string(),
            role,
            row.test(),
            format!("{mean:.2} ± {deviation:.2}"),
        ];
        if !on_cpu {
            cells.insert(4, n_layers.to_string());
        }
        table.add(cells);
    }
    table.text()
}

fn ratios(derived: &Derived) -> String {
    let ratios = &derived.ratios;
    let lines = [
        ("speculative / lockstep, t/s", ratios.speculative_over_lockstep),
        ("speculative / base alone, t/s", ratios.speculative_over_base),
        ("lockstep / base alone, t/s", ratios.lockstep_over_base),
        ("lockstep / its models alone, time", ratios.lockstep_time_over_parts),
    ];
    let lines = lines.into_iter().filter_map(|(name, median)| Some((name.to_owned(), median?)));
    let shares = derived.shares.iter().map(|share| (format!("r: {} / base, time", share.role), share.r));
    let mut table = Table::new(["ratio within a round", "median", "95 % interval", "rounds"], &[]);
    let mut is_empty = true;
    for (name, Median { median, interval, n }) in lines.chain(shares) {
        let interval = interval.map_or("–".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
        table.add([name, format!("{median:.3}"), interval, n.to_string()]);
        is_empty = false;
    }
    if is_empty { String::new() } else { table.text() }
}

fn steps(costs: &[StepCosts]) -> String {
    let Some(most) = costs.iter().max_by_key(|costs| costs.steps.len()) else { return String::new() };
    let names = most.steps.iter().map(|step| format!("K = {}", step.n_tokens));
    let mut table = Table::new(["c(K): step of K / step of 1".to_owned()].into_iter().chain(names), &[]);
    for StepCosts { role, steps, .. } in costs {
        let cells = steps.iter().map(|step| {
            let c = step.c.median;
            if step.n_tokens == 1 { format!("{c:.2} ({:.2} ms)", step.avg_ns / 1e6) } else { format!("{c:.2}") }
        });
        table.add([role.clone()].into_iter().chain(cells));
    }
    table.text()
}

fn batches(batches: &[Batches]) -> String {
    let list = |numbers: &[usize]| numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let names = ["logits in a batch", "kernels", "as one by one", "tokens in the batch", "behind tokens"];
    let mut table = Table::new(names, &names);
    for Batches { role, kernels, batch_invariant, n_kv, widths } in batches {
        let holds = match batch_invariant {
            None => "–",
            Some(true) => "bit by bit",
            Some(false) => "rounded otherwise",
        };
        table.add([role.as_str(), kernels, holds, &list(widths), &list(n_kv)]);
    }
    if batches.is_empty() { String::new() } else { table.text() }
}

fn drafts(drafts: &Drafts) -> String {
    let Drafts { all, by_model, by_lookup, by_place, n_steps, n_tokens, steps, n_texts, n_same } = drafts;
    let rate = |accepted: &Accepted| accepted.rate.map_or("–".to_owned(), |rate| format!("{:.1} %", rate * 100.0));
    let mut table = Table::new(["drafts", "drafted", "accepted", "rate"], &[]);
    let mut add = |name: String, accepted: &Accepted| {
        table.add([name, accepted.n_drafted.to_string(), accepted.n_accept.to_string(), rate(accepted)]);
    };
    add("all".to_owned(), all);
    add("by a model".to_owned(), by_model);
    add("by lookup in the text".to_owned(), by_lookup);
    for (i, accepted) in by_place.iter().enumerate() {
        add(format!("place {}", i + 1), accepted);
    }
    let used: Vec<_> = steps.iter().enumerate().filter(|(_, n)| **n > 0).collect();
    let names = used.iter().map(|(n, _)| n.to_string());
    let mut histogram = Table::new(["tokens in a step".to_owned()].into_iter().chain(names), &[]);
    histogram.add(["steps".to_owned()].into_iter().chain(used.iter().map(|(_, n)| n.to_string())));
    let per_step = *n_tokens as f64 / *n_steps as f64;
    let same = format!("{n_same} of {n_texts} texts are what lockstep wrote, token by token.");
    format!("{}\n{}\n{per_step:.2} tokens from each step. {same}\n", table.text(), histogram.text())
}

fn memory(memory: &Memory) -> String {
    let Memory { bandwidth, subjects } = memory;
    let gb = |bytes: f64| format!("{:.1}", bytes / 1e9);
    let mut table = Table::new(["read for each token", "weights", "KV cache", "GB/s", "roofline"], &[]);
    for traffic in subjects {
        let name = match traffic.of {
            How::Alone(_) => traffic.role.clone(),
            how => format!("{}, {}", traffic.role, how.name()),
        };
        let (weights, kv) = (units::bytes(traffic.weight_bytes as u64), units::bytes(traffic.kv_bytes as u64));
        table.add([name, weights, kv, gb(traffic.bytes_per_s), format!("{:.0} %", traffic.roofline * 100.0)]);
    }
    let beyond = if subjects.iter().any(|traffic| traffic.roofline > 1.0) {
        " More than all of it: these weights stay in caches."
    } else {
        ""
    };
    let threads =
        if bandwidth.n_threads == 1 { "one thread".to_owned() } else { format!("{} threads", bandwidth.n_threads) };
    format!(
        "{}\nRoofline: of the {} GB/s at which {threads} read {} MiB of memory from end to end, the best of {} \
         passes.{beyond}\n",
        table.text(),
        gb(bandwidth.bytes_per_s),
        bandwidth.n_bytes >> 20,
        bandwidth.n_passes
    )
}

fn system(system: &System) -> String {
    let System { proxytune, llama_cpp, devices, system_info } = system;
    let devices: Vec<_> = devices.iter().map(|device| format!("{} ({})", device.name, device.description)).collect();
    format!("build: proxytune {proxytune}, llama.cpp {llama_cpp}\ndevices: {}\n{system_info}\n", devices.join(", "))
}
