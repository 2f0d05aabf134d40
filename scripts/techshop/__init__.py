"""The harness of TechShop Cloud: makes a cluster, provides images, installs the chart, and proves it."""
