"""The words and constants of the invented marketplace: departments, categories, brands, variants and shops.

Only what a shop page shows stands here. How much a person likes something is decided in `people` and `choice`;
of the hidden styles no word stands here except the few variants that a style favours (`STYLE_WORDS`).
"""

from __future__ import annotations

from dataclasses import dataclass

STAGES = ("student", "single", "couple", "young family", "grown family", "retired")
"""Life stages, in the order of every array over stages."""


@dataclass(frozen=True)
class Category:
    """One category of a department.

    Attributes:
      name: as on the shelf label.
      nouns: what its titles call the thing.
      price: median price in the shop's currency.
      interval: typical days until one customer buys the same item again; 0 = seldom bought twice.
      gift: 0..1, how much of a gift it is (the season from October to December rides on it).
      stage: index in STAGES of the people it is for; -1 = everybody.
      peak: month (1..12) of its own high season; 0 = none.
    """

    name: str
    nouns: tuple[str, ...]
    price: float
    interval: int = 0
    gift: float = 0.0
    stage: int = -1
    peak: int = 0


def _category(
    name: str, nouns: str, price: float, interval: int = 0, gift: float = 0.0, stage: int = -1, peak: int = 0
) -> Category:
    return Category(name, tuple(nouns.split("|")), price, interval, gift, stage, peak)


DEPARTMENTS: tuple[tuple[str, float, tuple[Category, ...]], ...] = (
    (
        "Home & Living",
        0.24,
        (
            _category("Candles & Scent", "Candle|Reed Diffuser|Tealights|Scented Jar|Wax Melts", 5.5, 45, 0.9),
            _category("Cushions & Throws", "Cushion|Throw|Blanket|Cushion Cover|Bolster", 14, 0, 0.5),
            _category("Lighting", "Table Lamp|Fairy Lights|Lantern|Desk Lamp|Night Light", 17, 0, 0.6, -1, 11),
            _category("Storage", "Storage Box|Basket|Hook Rail|Drawer Organiser|Laundry Bag", 8.5),
            _category("Frames & Decor", "Photo Frame|Wall Clock|Mirror|Vase|Hanging Heart|Door Stop", 7.5, 0, 0.8),
            _category("Seasonal Decor", "Wreath|Bauble Set|Garland|Bunting|Star Decoration", 4.5, 0, 1.0, -1, 12),
            _category("Bath & Linen", "Hand Towel|Bath Mat|Bed Sheet|Pillowcase|Bath Towel", 11, 120),
        ),
    ),
    (
        "Kitchen & Dining",
        0.17,
        (
            _category("Mugs & Glasses", "Mug|Tumbler|Wine Glass|Tea Cup|Espresso Cup|Jug", 6, 0, 0.8),
            _category("Bakeware", "Cake Tin|Baking Tray|Muffin Cases|Rolling Pin|Pie Dish", 6.5, 90),
            _category("Cookware", "Milk Pan|Casserole|Frying Pan|Saucepan|Griddle", 24),
            _category("Tableware", "Dinner Plate|Cereal Bowl|Serving Dish|Napkins|Side Plate", 7, 60),
            _category("Lunch & Travel", "Lunch Box|Water Bottle|Snack Box|Flask|Picnic Bag", 8.5, 0, 0.2, -1, 6),
            _category("Utensils", "Spatula|Peeler|Measuring Spoons|Whisk|Chopping Board|Tongs", 4.5),
        ),
    ),
    (
        "Pantry & Drinks",
        0.15,
        (
            _category("Tea & Coffee", "Ground Coffee|Breakfast Tea|Herbal Tea|Coffee Beans|Chai", 4.2, 21, 0.2),
            _category("Biscuits & Sweets", "Oat Biscuits|Dark Chocolate|Caramels|Shortbread|Truffles", 2.6, 18, 0.6),
            _category("Cereals & Grains", "Porridge Oats|Granola|Muesli|Basmati Rice|Couscous", 2.9, 24),
            _category("Sauces & Spreads", "Tomato Sauce|Pesto|Strawberry Jam|Honey|Peanut Butter", 2.7, 30),
            _category("Tins & Pulses", "Chickpeas|Chopped Tomatoes|Lentils|Kidney Beans|Sweetcorn", 1.1, 21),
            _category("Soft Drinks", "Sparkling Water|Ginger Beer|Lemonade|Apple Juice|Tonic", 1.6, 14, 0.0, -1, 7),
        ),
    ),
    (
        "Beauty & Care",
        0.10,
        (
            _category("Skin Care", "Day Cream|Face Wash|Hand Cream|Lip Balm|Serum|Night Cream", 9, 45, 0.3),
            _category("Hair Care", "Shampoo|Conditioner|Hair Oil|Dry Shampoo|Hair Mask", 5, 35),
            _category("Bath & Body", "Shower Gel|Bath Salts|Body Lotion|Soap Bar|Bath Bomb", 4, 30, 0.7),
            _category("Make-up", "Mascara|Lip Colour|Nail Polish|Powder|Eye Pencil", 7.5, 70, 0.2),
            _category("Shaving & Grooming", "Razor Blades|Shaving Foam|Beard Oil|Aftershave", 7, 40, 0.4),
        ),
    ),
    (
        "Stationery & Craft",
        0.09,
        (
            _category("Cards & Wrap", "Gift Wrap|Birthday Card|Gift Tags|Ribbon|Gift Bag", 2.4, 50, 1.0),
            _category("Notebooks & Paper", "Notebook|Journal|Sketch Pad|Writing Paper|Planner", 5, 80, 0.3, -1, 9),
            _category(
                "Pens & Pencils",
                "Pencil Set|Fineliner|Fountain Pen|Highlighters|Crayons",
                3.6,
                90,
                0.1,
                -1,
                9,
            ),
            _category("Craft Kits", "Embroidery Kit|Paper Chain Kit|Stamp Set|Sewing Kit|Felt Kit", 9, 0, 0.7),
            _category("Party", "Balloons|Paper Plates|Candles Pack|Party Bags|Paper Cups", 3, 70, 0.2),
        ),
    ),
    (
        "Toys & Games",
        0.07,
        (
            _category("Board Games", "Board Game|Card Game|Dominoes|Quiz Game|Chess Set", 15, 0, 1.0),
            _category("Puzzles", "Jigsaw|Wooden Puzzle|3D Puzzle|Brain Teaser", 11, 0, 0.8, 5),
            _category("Soft Toys", "Teddy Bear|Plush Rabbit|Hand Puppet|Rag Doll", 10, 0, 0.9, 3),
            _category("Building & Vehicles", "Building Blocks|Toy Train|Race Car|Marble Run", 18, 0, 0.9, 3),
            _category("Outdoor Play", "Skipping Rope|Kite|Bubble Wand|Frisbee|Bat and Ball", 7, 0, 0.0, 3, 6),
        ),
    ),
    (
        "Garden & Outdoor",
        0.06,
        (
            _category(
                "Seeds & Bulbs",
                "Tomato Seeds|Wildflower Mix|Tulip Bulbs|Herb Seeds|Lavender",
                2.6,
                60,
                0.0,
                -1,
                4,
            ),
            _category("Pots & Planters", "Planter|Plant Pot|Hanging Basket|Window Box|Saucer", 9, 0, 0.1, -1, 5),
            _category("Garden Tools", "Trowel|Secateurs|Watering Can|Garden Gloves|Kneeler", 11, 0, 0.2, 5, 4),
            _category("Bird & Wildlife", "Bird Feeder|Seed Mix|Suet Balls|Nest Box|Bee House", 5.5, 28, 0.3, 5),
        ),
    ),
    (
        "Fashion & Accessories",
        0.05,
        (
            _category("Bags", "Tote Bag|Backpack|Purse|Wash Bag|Shopper", 15, 0, 0.5),
            _category("Scarves & Gloves", "Scarf|Gloves|Beanie|Shawl|Ear Muffs", 13, 0, 0.8, -1, 11),
            _category("Jewellery", "Earrings|Bracelet|Necklace|Ring|Brooch", 12, 0, 0.8),
            _category("Socks & Basics", "Socks|Tights|T-shirt|Slippers|Vest", 7, 75, 0.4),
        ),
    ),
    (
        "Baby & Kids",
        0.04,
        (
            _category("Nappies & Wipes", "Nappies|Wet Wipes|Changing Mat|Nappy Bags", 6, 14, 0.0, 3),
            _category("Feeding", "Baby Bottle|Bib|Fruit Puree|Weaning Spoon|Sippy Cup", 4.5, 28, 0.0, 3),
            _category("Kids' Room", "Night Lamp|Growth Chart|Toy Box|Name Plaque", 14, 0, 0.5, 3),
        ),
    ),
    (
        "Pets",
        0.03,
        (
            _category("Dog", "Dog Treats|Lead|Chew Toy|Dog Bed|Dog Food", 6, 21, 0.1),
            _category("Cat", "Cat Food|Cat Litter|Scratch Post|Cat Toy|Cat Treats", 5.5, 18, 0.1),
        ),
    ),
)
"""(department, its share of the catalogue, its categories)."""

STYLE_WORDS = (
    "Rustic|Oak|Linen|Farmhouse",
    "Retro|Red Spot|Vintage|Polka Dot",
    "Minimal|White|Matt|Plain",
    "Botanical|Fern|Leaf|Meadow",
    "Nordic|Birch|Grey|Fjord",
    "Romantic|Rose|Lace|Heart",
    "Industrial|Black|Steel|Slate",
    "Bright|Rainbow|Neon|Confetti",
    "Coastal|Navy|Stripe|Shell",
    "Heritage|Tartan|Tweed|Crest",
    "Boho|Rattan|Fringe|Mosaic",
    "Cosy|Knit|Fleece|Hygge",
    "Playful|Dotty|Fox|Owl",
    "Luxe|Gold|Velvet|Marble",
    "Cottage|Gingham|Daisy|Bluebell",
    "Eco|Bamboo|Hemp|Recycled",
    "Art Deco|Geometric|Brass|Fan",
    "Tropical|Palm|Flamingo|Citrus",
)
"""Variants that hidden style 0, 1, ... of a department favours; a title carries one only now and then."""
PLAIN_WORDS = (
    *("Classic", "Small", "Large", "Mini", "Everyday", "Family", "Deluxe"),
    *("Handy", "Original", "Fine", "Natural", "Soft", "Light", "Round"),
)
"""Variants that say nothing about style."""
ENDINGS = (
    *("", ", set of 2", ", set of 6", ", large", ", small", ", pack of 3"),
    *(", cream", ", blue", ", green", ", 500 g", ", 250 ml", ", pack of 12"),
)
"""What may follow the noun."""
BRAND_HEADS = (
    *("Alder", "Bram", "Cotter", "Dunmere", "Elsby", "Fenwick", "Garrow", "Hollin", "Ister", "Jorvin"),
    *("Keld", "Lowther", "Marram", "Nettle", "Orrin", "Pell", "Quill", "Rushby", "Selwick", "Tarn"),
    *("Ulver", "Varley", "Wendle", "Yarrow", "Zennor", "Bellow", "Corrie", "Draycot", "Esk", "Farrow"),
)
BRAND_TAILS = (
    *("", "& Daughter", "& Finch", "Works", "Mill", "House"),
    *("Bros.", "& Moss", "Studio", "Lane", "Supply", "Trading"),
)
"""A brand is a head and a tail; none of them is meant to be an existing company."""
SHOPS = (
    "Larkhill Market",
    "Copper Lane",
    "Northgate Stores",
    "Quayside & Sons",
    "Willow Yard",
    "Hearth & Field",
    "Tinker's Row",
    "Pocket Pantry",
)
SHOP_SHARES = (0.34, 0.22, 0.15, 0.10, 0.08, 0.05, 0.04, 0.02)
"""Each shop's share of the people."""
