// A click on a head sorts a table of results: columns of numbers by their first number, others as text.
addEventListener("DOMContentLoaded", async () => {
    const {ITable} = await itables;
    for (const table of document.querySelectorAll(".cell_output table")) {
        if (table.tBodies[0].rows.length < 3) continue;
        for (const cell of table.tBodies[0].querySelectorAll("td")) {
            if (getComputedStyle(cell).textAlign !== "right") continue;
            const number = parseFloat(cell.textContent.replace("−", "-").replace("< ", ""));
            cell.dataset.order = isNaN(number) ? -1e9 : number;
        }
        new ITable(table, {paging: false, searching: false, info: false, order: [], autoWidth: false});
    }
});
