//! A shop: a catalogue with stock, a basket, coupons, orders. Prices are whole numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Environment, done, mentions, read, sorted, unknown};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shop {
    catalogue: BTreeMap<String, Product>,
    #[serde(default)]
    basket: BTreeMap<String, u32>,
    /// Percent off by code.
    #[serde(default)]
    coupons: BTreeMap<String, u32>,
    #[serde(default)]
    orders: Vec<Order>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    name: String,
    price: u32,
    stock: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    items: BTreeMap<String, u32>,
    address: String,
    total: u64,
}

#[derive(Deserialize)]
struct Search {
    query: String,
    max_price: Option<u32>,
}

#[derive(Deserialize)]
struct Add {
    sku: String,
    quantity: u32,
}

#[derive(Deserialize)]
struct Sku {
    sku: String,
}

#[derive(Deserialize)]
struct Checkout {
    address: String,
    coupon: Option<String>,
}

impl Environment for Shop {
    fn call(&mut self, name: &str, arguments: Value) -> Answer {
        match name {
            "search_products" => Ok(self.search(&read(arguments)?)),
            "add_to_basket" => self.add(read(arguments)?),
            "remove_from_basket" => self.remove(&read(arguments)?),
            "view_basket" => Ok(json!({ "items": self.basket, "total": self.total() })),
            "checkout" => self.checkout(read(arguments)?),
            _ => unknown(),
        }
    }

    fn essence(&self) -> Value {
        let stock: BTreeMap<_, _> =
            self.catalogue.iter().map(|(sku, product)| (sku, product.stock)).collect();
        let orders = sorted(self.orders.iter().map(|order| json!(order)));
        json!({ "stock": stock, "basket": self.basket, "orders": orders })
    }
}

impl Shop {
    fn search(&self, Search { query, max_price }: &Search) -> Value {
        let fits = |product: &Product| {
            mentions(&product.name, query) && max_price.is_none_or(|most| product.price <= most)
        };
        let found = self.catalogue.iter().filter(|(_, product)| fits(product));
        let shown = found.map(|(sku, Product { name, price, stock })| {
            json!({ "sku": sku, "name": name, "price": price, "stock": stock })
        });
        json!({ "products": shown.collect::<Vec<_>>() })
    }

    fn add(&mut self, Add { sku, quantity }: Add) -> Answer {
        let product = self.catalogue.get(&sku).ok_or_else(|| format!("there is no product {sku}"))?;
        let wanted = self.basket.get(&sku).copied().unwrap_or(0).saturating_add(quantity);
        if wanted > product.stock {
            return Err(format!("only {} of {sku} in stock", product.stock));
        }
        self.basket.insert(sku, wanted);
        done()
    }

    fn remove(&mut self, Sku { sku }: &Sku) -> Answer {
        self.basket.remove(sku).ok_or_else(|| format!("{sku} is not in the basket"))?;
        done()
    }

    fn total(&self) -> u64 {
        let price = |sku: &str| self.catalogue.get(sku).map_or(0, |product| u64::from(product.price));
        self.basket.iter().map(|(sku, quantity)| price(sku) * u64::from(*quantity)).sum()
    }

    fn checkout(&mut self, Checkout { address, coupon }: Checkout) -> Answer {
        if self.basket.is_empty() {
            return Err("the basket is empty".into());
        }
        let percent = match coupon {
            Some(code) => *self.coupons.get(&code).ok_or_else(|| format!("there is no coupon {code}"))?,
            None => 0,
        };
        let total = self.total();
        let total = total - total * u64::from(percent.min(100)) / 100;
        let items = std::mem::take(&mut self.basket);
        for (sku, quantity) in &items {
            if let Some(product) = self.catalogue.get_mut(sku) {
                product.stock = product.stock.saturating_sub(*quantity);
            }
        }
        self.orders.push(Order { items, address, total });
        Ok(json!({ "order": self.orders.len(), "total": total }))
    }
}
