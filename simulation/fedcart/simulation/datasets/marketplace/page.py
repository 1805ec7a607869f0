"""The text of docs/marketplace.md around its two tables; `traits.main` fills them in and prints it."""

PAGE = """# The built-in marketplace

Eight invented shops, their people and a year of visits, made from (size, seed, version) alone. No table of real
people is behind it; it needs no data and no network.

    from fedcart.simulation.datasets.marketplace import make
    data = make("default", seed=0)      # small 2,000 people, default 24,000, large 120,000

## How a purchase comes about

- A **person** has a department mix, category habits, a favourite style in each department (following one of many
  tribes part of the time), a price they look for, sometimes a loved brand, a stage of life, a pace. Stages, mixes and
  tribes differ by shop. A third of the people have only looked so far; the traits *a customer* count buyers.
- A **shop** lists some of the items and shows them on shelves by month: what is generally loved, in season or on
  offer gets more facings. Nobody buys or views what was not shown (exposure bias).
- On each **page** a person takes the few items of highest utility plus noise. The utility adds appeal, style, price,
  brand, stage, habit and a lasting private whim for that very item, so it is not a low-rank matrix.
- Pages drift: the next one often stays in the department. Strips beside them show **complements** (an explicit graph
  of what goes with what) of the basket and of earlier purchases, and what the category's interval says is used up.
- **Presents** follow a calendar with its peak in November and the gift categories; 2 % of the people buy in bulk.
- Items appear and leave all year. About 1 % of the lines are returned: the purchase and its return are dropped and
  counted, as every reader does. 3 % of the people opted out (`Dataset.opted_out`).
- **Metadata** is only partly informative: brands lean toward a style, a title carries a word of it now and then,
  2 % of the titles and 1 % of the brands are missing. The hidden style, appeal and graph are in no column.
- Views are one row a person, item and day with their number as value. How many there are is an assumption: none of
  the data sets at hand has views.

## Traits, default size, seed 0

Each is a test. Real values: online-retail / ML-1M / complete-journey, as far as they have the trait.
`python -m fedcart.simulation.datasets.marketplace.traits` prints this page.

{traits}
The rank slope is the least-squares slope of log customers on log rank over the first 60 % of the items.
The divergence is over items, with log base 2, and includes the sampling noise of small shops.

## What learners make of it

The same split for all: the last ten weeks, items new to the customer, full ranking, NDCG@10. Each shop alone
takes the best of three regularizations on the test rows, so that the gain of pooling is not flattered. The oracle
ranks by the true utilities, department mix and exposure. `pytest -m slow tests/simulation/test_marketplace.py`.

The generator's constants were chosen by looking at this table for seed 0, over some fifteen settings (two of them at
seed 1 as well), so seed 0 is not an independent check. With the constants fixed, seeds 1 / 2 / 3 gave: pooled over
alone .14 / .12 / .19; smallest third .28 / .54 / .42; content over popularity 1.26 / 1.42 / 1.41; the shop that
gains least .06 / .04 / .08. That last row is met at seed 0 only: in the other seeds every shop gains more than .02.
The traits above were inside their bands for all four seeds, but for the season of gift categories (1.42 and 1.36 at
seeds 2 and 3).

{models}"""
