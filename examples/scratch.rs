use proxytune::llama::backend;
use proxytune::llama::context::*;
use proxytune::recipe::placement::CacheType;
use proxytune::steer::{load::Models, *};
use std::time::Instant;
fn main() {
    proxytune::llama::log::capture(false);
    let b = backend::shared().unwrap();
    let args: Vec<String> = std::env::args().collect();
    let th: usize = args[1].parse().unwrap();
    let det = args[2] == "det";
    let repack = args[3] != "norepack";
    for path in &args[4..] {
        let mut s = ModelSource::new(path);
        s.model.repack = repack;
        s.context = ContextParams { n_ctx: 1024, n_outputs_max: 16, n_threads: th, ..ContextParams::default() };
        if det {
            s.context.flash_attention = FlashAttention::On;
            s.context.cache_type_k = CacheType::Q8_0;
            s.context.cache_type_v = CacheType::Q8_0;
        }
        let mut m = Steered::load(&b, &Plan::alone(s), &mut Models::default(), &mut |_, _, _| true).unwrap();
        let p = m.tokenize(&"Once upon a time there was a little girl who had a dog. ".repeat(8)).unwrap();
        m.prefill(&p, || true).unwrap();
        let t: Vec<i32> = (0..16).map(|i| 300 + i).collect();
        let ks = [1, 2, 3, 4, 5, 6, 8, 12, 16];
        let mut best = vec![Vec::new(); ks.len()];
        for r in 0..9 {
            for (i, &k) in ks.iter().enumerate() {
                let c = Instant::now();
                m.decode(&t[..k]).unwrap();
                let e = c.elapsed().as_secs_f64() * 1e3;
                m.keep(0).ok();
                if r > 0 {
                    best[i].push(e)
                }
            }
        }
        print!("{} t={th} det={det} repack={repack}:", path.rsplit('/').next().unwrap());
        let mut one = 0.0;
        for (i, k) in ks.iter().enumerate() {
            best[i].sort_by(f64::total_cmp);
            let m = best[i][best[i].len() / 2];
            if *k == 1 {
                one = m;
                print!(" {m:.2} ms");
            }
            print!(" c{k}={:.2}", m / one);
        }
        println!();
    }
}
