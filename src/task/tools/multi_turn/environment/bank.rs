//! Accounts, payees and payments, in whole euros.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Environment, done, read, sorted, unknown};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bank {
    /// Balances by account.
    accounts: BTreeMap<String, u64>,
    /// Account numbers by name.
    payees: BTreeMap<String, String>,
    #[serde(default)]
    payments: Vec<Payment>,
    /// Most that one payment may come to.
    limit: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    account: String,
    payee: String,
    amount: u64,
    reference: String,
}

#[derive(Deserialize)]
struct Account {
    account: String,
}

#[derive(Deserialize)]
struct Payee {
    name: String,
    iban: String,
}

#[derive(Deserialize)]
struct Transfer {
    from: String,
    to: String,
    amount: u64,
}

#[derive(Deserialize)]
struct Payments {
    payee: Option<String>,
}

impl Environment for Bank {
    fn call(&mut self, name: &str, arguments: Value) -> Answer {
        match name {
            "get_balance" => self.balance(&read(arguments)?),
            "list_payees" => Ok(json!({ "payees": self.payees })),
            "add_payee" => self.add_payee(read(arguments)?),
            "pay" => self.pay(read(arguments)?),
            "transfer" => self.transfer(&read(arguments)?),
            "list_payments" => Ok(self.list_payments(&read(arguments)?)),
            _ => unknown(),
        }
    }

    fn essence(&self) -> Value {
        let payments = sorted(self.payments.iter().map(|payment| json!(payment)));
        json!({ "accounts": self.accounts, "payees": self.payees, "payments": payments })
    }
}

impl Bank {
    fn balance(&self, Account { account }: &Account) -> Answer {
        let balance = self.accounts.get(account).ok_or_else(|| no_account(account))?;
        Ok(json!({ "balance": balance }))
    }

    fn add_payee(&mut self, Payee { name, iban }: Payee) -> Answer {
        if self.payees.contains_key(&name) {
            return Err(format!("{name} is a payee already"));
        }
        self.payees.insert(name, iban);
        done()
    }

    fn pay(&mut self, payment: Payment) -> Answer {
        if !self.payees.contains_key(&payment.payee) {
            return Err(format!("{} is not a payee", payment.payee));
        }
        if payment.amount > self.limit {
            return Err(format!("over the limit of {} a payment", self.limit));
        }
        self.take(&payment.account, payment.amount)?;
        self.payments.push(payment);
        done()
    }

    fn transfer(&mut self, Transfer { from, to, amount }: &Transfer) -> Answer {
        if from == to {
            return Err("both accounts are the same".into());
        }
        let balance = self.accounts.get(to).ok_or_else(|| no_account(to))?;
        let sum = balance.checked_add(*amount).ok_or("the amount is too large")?;
        self.take(from, *amount)?;
        self.accounts.insert(to.clone(), sum);
        done()
    }

    fn take(&mut self, account: &str, amount: u64) -> Result<(), String> {
        let balance = self.accounts.get_mut(account).ok_or_else(|| no_account(account))?;
        *balance = balance.checked_sub(amount).ok_or_else(|| format!("{account} holds only {balance}"))?;
        Ok(())
    }

    fn list_payments(&self, Payments { payee }: &Payments) -> Value {
        let fits = |payment: &&Payment| payee.as_ref().is_none_or(|payee| payment.payee == *payee);
        json!({ "payments": self.payments.iter().filter(fits).collect::<Vec<_>>() })
    }
}

fn no_account(account: &str) -> String {
    format!("there is no account {account}")
}
