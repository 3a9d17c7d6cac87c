use proxytune::generate::{draft::*, *};
use proxytune::llama::backend;
use proxytune::llama::context::*;
use proxytune::recipe::{Recipe, Sampling, Schedule};
use proxytune::steer::{load::Models, *};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
fn main() {
    proxytune::llama::log::capture(false);
    let b = backend::shared().unwrap();
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args[2].parse().unwrap();
    let np: usize = args[3].parse().unwrap();
    let temp: f32 = args[4].parse().unwrap();
    let rp: f32 = args[5].parse().unwrap();
    let prompts: Vec<String> =
        std::fs::read_to_string("/tmp/ag/prompts.txt").unwrap().lines().map(str::to_owned).collect();
    let r = Recipe::open(&args[1]).unwrap();
    let mut d = ModelSource::new("");
    d.context = ContextParams { n_ctx: 512, n_outputs_max: 16, n_threads: 2, ..ContextParams::default() };
    if std::env::var("DET").is_ok() {
        use proxytune::recipe::placement::CacheType;
        d.context.flash_attention = FlashAttention::On;
        d.context.cache_type_k = CacheType::Q8_0;
        d.context.cache_type_v = CacheType::Q8_0;
    }
    let mut m =
        Steered::load(&b, &Plan::of_recipe(&r, &d, &b).unwrap(), &mut Models::default(), &mut |_, _, _| true).unwrap();
    let mut base = Steered::load(
        &b,
        &Plan::of_recipe(&r, &d, &b).unwrap().base_alone().unwrap(),
        &mut Models::default(),
        &mut |_, _, _| true,
    )
    .unwrap();
    let auto = |l: &str| Draft { length: Length::Auto, min_p: 0.0, drafters: drafters(l).unwrap() };
    let mut cfg: Vec<(String, Draft)> = vec![("lockstep".into(), Draft::off())];
    for a in &args[6..] {
        let (x, y) = a.split_once(':').unwrap();
        cfg.push((
            a.clone(),
            if x == "auto" {
                auto(y)
            } else {
                Draft { length: x.parse().unwrap(), min_p: 0.0, drafters: drafters(y).unwrap() }
            },
        ));
    }
    let mut tot = vec![(0usize, 0.0f64, Stats::default()); cfg.len() + 1];
    for p in prompts.iter().take(np) {
        let mut base_toks = Vec::new();
        for i in 0..=cfg.len() {
            let s = if i == 0 { &mut base } else { &mut m };
            let draft = if i == 0 { Draft::off() } else { cfg[i - 1].1.clone() };
            let sampling = Sampling { temp, seed: Some(1), repeat_penalty: rp, ignore_eos: true, ..r.sampling.clone() };
            let req = Request {
                sampling,
                n_predict: Some(n),
                draft,
                alphas: if i == 0 { vec![] } else { vec![Schedule::constant(0.75)] },
                ..Request::default()
            };
            let req = if i == 0 { Request { alphas: vec![], ..req } } else { req };
            let pr = s.tokenize(p).unwrap();
            let stop = AtomicBool::new(false);
            let mut g = Generation::start(s, &pr, &req, &stop).unwrap();
            let t0 = Instant::now();
            let mut toks = Vec::new();
            while let Some(st) = g.step().unwrap() {
                toks.push(st.token);
            }
            tot[i].0 += toks.len();
            tot[i].1 += t0.elapsed().as_secs_f64();
            tot[i].2.add(g.stats());
            if i == 1 {
                base_toks = toks.clone()
            }
            if i > 1 && toks != base_toks {
                println!("differs in {} at {:?}", cfg[i - 1].0, toks.iter().zip(&base_toks).position(|(a, b)| a != b))
            }
        }
    }
    for i in 0..=cfg.len() {
        let (n, t, s) = &tot[i];
        let a = s.all();
        println!(
            "{:<22} {:6.2} ms/tok  vs lockstep {:.3} vs base {:.3}  tok/step {:.2} acc {:.2} lookup {}/{} place {:?} steps {:?}",
            if i == 0 { "base" } else { &cfg[i - 1].0 },
            t / *n as f64 * 1e3,
            (tot[1].1 / tot[1].0 as f64) / (t / *n as f64),
            (tot[0].1 / tot[0].0 as f64) / (t / *n as f64),
            *n as f64 / s.n_steps() as f64,
            a.rate(),
            s.by_lookup.n_accept,
            s.by_lookup.n_drafted,
            s.by_place.iter().take(4).map(|t| (t.rate() * 100.0) as u32).collect::<Vec<_>>(),
            s.steps
        );
    }
    for st in [proxytune::steer::lanes::Step::AtOnce, proxytune::steer::lanes::Step::Behind] {
        println!(
            "{st:?} ahead {:?} {:?}",
            m.costs().ahead(1),
            m.costs().measured(st).map(|(n, s)| (n, (s * 1e4).round() / 10.0)).collect::<Vec<_>>()
        );
    }
}
