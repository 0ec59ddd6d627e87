//! `greenroom ledger`: the books, checked from outside.

use anyhow::bail;
use clap::Subcommand;
use signaling::store::{database_path, verify_file};

use super::Cli;

#[derive(Debug, Subcommand)]
pub(crate) enum Ledger {
    /// Recompute every balance from its entries and walk the audit chain
    Verify,
}

pub(crate) fn run(cli: &Cli, ledger: &Ledger) -> anyhow::Result<()> {
    let config = cli.options.load()?;
    let path = database_path(&config.data_dir);
    match ledger {
        Ledger::Verify => {
            let report = verify_file(&path)?;
            println!("{}", path.display());
            println!("  transfers       {}", report.transfers);
            println!("  gifts           {}", report.gifts);
            println!("  accounts        {}", report.accounts);
            println!("  audit rows      {}", report.audit_rows);
            println!("  coins issued    {}", report.coins_issued);
            println!("  coins redeemed  {}", report.coins_redeemed);
            for fault in &report.faults {
                println!("  FAULT           {fault}");
            }
            if !report.is_clean() {
                bail!("the books are wrong in {} places", report.faults.len());
            }
            println!("The books are right.");
            Ok(())
        }
    }
}
