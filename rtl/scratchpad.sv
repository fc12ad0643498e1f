// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// The scratchpad: BANKS single-ported banks of words with an even parity bit each. Word w is row w / BANKS of bank
// w mod BANKS, so that a unit that streams a row of a feature map never meets itself.
//
// Arbitration is combinational, in a fixed order (writes before reads, see docs/rtl.md), and looks only at requests, which
// come from registers. At the edge each bank does its one access; read data and a parity error follow in the next cycle.
// The loops run over ports once to find each bank's access, over banks once, and over ports again to hand out the data.
module scratchpad #(
  parameter int unsigned COLUMNS          = 16,
  parameter int unsigned BANKS            = 16,
  parameter int unsigned SCRATCHPAD_BYTES = 8388608,
  parameter int unsigned ARRAY_PORTS      = 12,
  parameter int unsigned DEPTHWISE_PORTS  = 4,
  parameter int unsigned ELEMENTWISE_PORTS = 2,
  localparam int unsigned WORD            = 8 * COLUMNS,
  localparam int unsigned DEPTH           = SCRATCHPAD_BYTES / COLUMNS / BANKS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i, // nothing is granted

  input  logic            array_write_valid_i,
  input  logic [31:0]     array_write_address_i,
  input  logic [WORD-1:0] array_write_data_i,
  output logic            array_write_grant_o,
  input  logic            depthwise_write_valid_i,
  input  logic [31:0]     depthwise_write_address_i,
  input  logic [WORD-1:0] depthwise_write_data_i,
  output logic            depthwise_write_grant_o,
  input  logic            elementwise_write_valid_i,
  input  logic [31:0]     elementwise_write_address_i,
  input  logic [WORD-1:0] elementwise_write_data_i,
  output logic            elementwise_write_grant_o,
  input  logic            load_write_valid_i,
  input  logic [31:0]     load_write_address_i,
  input  logic [WORD-1:0] load_write_data_i,
  output logic            load_write_grant_o,

  input  logic            array_read_valid_i         [ARRAY_PORTS],
  input  logic [31:0]     array_read_address_i       [ARRAY_PORTS],
  output logic            array_read_grant_o         [ARRAY_PORTS],
  output logic [WORD-1:0] array_read_data_o          [ARRAY_PORTS],
  input  logic            depthwise_read_valid_i     [DEPTHWISE_PORTS],
  input  logic [31:0]     depthwise_read_address_i   [DEPTHWISE_PORTS],
  output logic            depthwise_read_grant_o     [DEPTHWISE_PORTS],
  output logic [WORD-1:0] depthwise_read_data_o      [DEPTHWISE_PORTS],
  input  logic            elementwise_read_valid_i   [ELEMENTWISE_PORTS],
  input  logic [31:0]     elementwise_read_address_i [ELEMENTWISE_PORTS],
  output logic            elementwise_read_grant_o   [ELEMENTWISE_PORTS],
  output logic [WORD-1:0] elementwise_read_data_o    [ELEMENTWISE_PORTS],
  input  logic            store_read_valid_i,
  input  logic [31:0]     store_read_address_i,
  output logic            store_read_grant_o,
  output logic [WORD-1:0] store_read_data_o,
  input  logic            fetch_read_valid_i,
  input  logic [31:0]     fetch_read_address_i,
  output logic            fetch_read_grant_o,
  output logic [WORD-1:0] fetch_read_data_o,

  input  logic            debug_read_valid_i, // behind all others, without an error; also when halted
  input  logic [31:0]     debug_read_address_i,
  output logic            debug_read_grant_o,
  output logic [WORD-1:0] debug_read_data_o,
  output logic            debug_read_parity_o, // is wrong

  input  logic            flip_valid_i, // test: invert the stored parity of a word
  input  logic [31:0]     flip_address_i,
  output logic            parity_error_o, // a word read in the cycle before; clients numbered as below
  output logic [2:0]      parity_client_o,
  output logic [31:0]     parity_address_o
);
  localparam int unsigned BANK_BITS = $clog2(BANKS);
  localparam int unsigned ROW_BITS  = $clog2(DEPTH);
  localparam logic [2:0] CLIENT_ARRAY = 3'd0;
  localparam logic [2:0] CLIENT_DEPTHWISE = 3'd1;
  localparam logic [2:0] CLIENT_ELEMENTWISE = 3'd2;
  localparam logic [2:0] CLIENT_LOAD = 3'd3;
  localparam logic [2:0] CLIENT_STORE = 3'd4;
  localparam logic [2:0] CLIENT_FETCH = 3'd5;

  function automatic logic [BANK_BITS-1:0] bank_of(logic [31:0] address);
    return address[BANK_BITS-1:0];
  endfunction
  function automatic logic [ROW_BITS-1:0] row_of(logic [31:0] address);
    return address[BANK_BITS+ROW_BITS-1:BANK_BITS];
  endfunction

  // ------------------------------------------------------------------------------------------------ arbitration
  logic [BANKS-1:0] taken;
  logic             granted; // anything at all
  always_comb begin
    taken = {BANKS{halt_i}};
    array_write_grant_o       = array_write_valid_i && !halt_i;
    depthwise_write_grant_o   = 1'b0;
    elementwise_write_grant_o = 1'b0;
    load_write_grant_o        = 1'b0;
    store_read_grant_o        = 1'b0;
    fetch_read_grant_o        = 1'b0;
    if (array_write_valid_i) taken[bank_of(array_write_address_i)] = 1'b1;
    if (depthwise_write_valid_i && !taken[bank_of(depthwise_write_address_i)]) begin
      depthwise_write_grant_o = 1'b1;
      taken[bank_of(depthwise_write_address_i)] = 1'b1;
    end
    if (elementwise_write_valid_i && !taken[bank_of(elementwise_write_address_i)]) begin
      elementwise_write_grant_o = 1'b1;
      taken[bank_of(elementwise_write_address_i)] = 1'b1;
    end
    if (load_write_valid_i && !taken[bank_of(load_write_address_i)]) begin
      load_write_grant_o = 1'b1;
      taken[bank_of(load_write_address_i)] = 1'b1;
    end
    for (int unsigned p = 0; p < ARRAY_PORTS; p++) begin
      array_read_grant_o[p] = array_read_valid_i[p] && !taken[bank_of(array_read_address_i[p])];
      if (array_read_valid_i[p]) taken[bank_of(array_read_address_i[p])] = 1'b1;
    end
    for (int unsigned p = 0; p < DEPTHWISE_PORTS; p++) begin
      depthwise_read_grant_o[p] = depthwise_read_valid_i[p] && !taken[bank_of(depthwise_read_address_i[p])];
      if (depthwise_read_valid_i[p]) taken[bank_of(depthwise_read_address_i[p])] = 1'b1;
    end
    for (int unsigned p = 0; p < ELEMENTWISE_PORTS; p++) begin
      elementwise_read_grant_o[p] = elementwise_read_valid_i[p] && !taken[bank_of(elementwise_read_address_i[p])];
      if (elementwise_read_valid_i[p]) taken[bank_of(elementwise_read_address_i[p])] = 1'b1;
    end
    if (store_read_valid_i && !taken[bank_of(store_read_address_i)]) begin
      store_read_grant_o = 1'b1;
      taken[bank_of(store_read_address_i)] = 1'b1;
    end
    if (fetch_read_valid_i && !taken[bank_of(fetch_read_address_i)]) begin
      fetch_read_grant_o = 1'b1;
      taken[bank_of(fetch_read_address_i)] = 1'b1;
    end
    granted = (taken != '0) && !halt_i;
    debug_read_grant_o = debug_read_valid_i && (halt_i || !taken[bank_of(debug_read_address_i)]);
  end

  // ------------------------------------------------------------------------------------------------------ banks
  logic [WORD-1:0]     memory_q     [DEPTH][BANKS];
  logic                parity_q     [DEPTH][BANKS];
  logic [BANKS-1:0]    bank_read;  // private to the block below, as everything until the data
  logic [BANKS-1:0]    bank_write;
  logic [2:0]          bank_client [BANKS];
  logic [ROW_BITS-1:0] bank_row    [BANKS];
  logic [WORD-1:0]     bank_word   [BANKS];
  logic [WORD-1:0]     word;
  logic [WORD-1:0]     array_data       [ARRAY_PORTS];
  logic [WORD-1:0]     depthwise_data   [DEPTHWISE_PORTS];
  logic [WORD-1:0]     elementwise_data [ELEMENTWISE_PORTS];
  logic                moved_array, moved_depthwise, moved_elementwise;

  always_ff @(posedge clk_i) begin
    parity_error_o <= 1'b0;
    if (granted) begin
      bank_read  = '0;
      bank_write = '0;
      moved_array = 1'b0;
      moved_depthwise = 1'b0;
      moved_elementwise = 1'b0;
      if (array_write_grant_o) begin
        bank_write[bank_of(array_write_address_i)] = 1'b1;
        bank_row[bank_of(array_write_address_i)] = row_of(array_write_address_i);
        bank_client[bank_of(array_write_address_i)] = CLIENT_ARRAY;
      end
      if (depthwise_write_grant_o) begin
        bank_write[bank_of(depthwise_write_address_i)] = 1'b1;
        bank_row[bank_of(depthwise_write_address_i)] = row_of(depthwise_write_address_i);
        bank_client[bank_of(depthwise_write_address_i)] = CLIENT_DEPTHWISE;
      end
      if (elementwise_write_grant_o) begin
        bank_write[bank_of(elementwise_write_address_i)] = 1'b1;
        bank_row[bank_of(elementwise_write_address_i)] = row_of(elementwise_write_address_i);
        bank_client[bank_of(elementwise_write_address_i)] = CLIENT_ELEMENTWISE;
      end
      if (load_write_grant_o) begin
        bank_write[bank_of(load_write_address_i)] = 1'b1;
        bank_row[bank_of(load_write_address_i)] = row_of(load_write_address_i);
        bank_client[bank_of(load_write_address_i)] = CLIENT_LOAD;
      end
      for (int unsigned p = 0; p < ARRAY_PORTS; p++) begin
        if (array_read_grant_o[p]) begin
          moved_array = 1'b1;
          bank_read[bank_of(array_read_address_i[p])] = 1'b1;
          bank_row[bank_of(array_read_address_i[p])] = row_of(array_read_address_i[p]);
          bank_client[bank_of(array_read_address_i[p])] = CLIENT_ARRAY;
        end
      end
      for (int unsigned p = 0; p < DEPTHWISE_PORTS; p++) begin
        if (depthwise_read_grant_o[p]) begin
          moved_depthwise = 1'b1;
          bank_read[bank_of(depthwise_read_address_i[p])] = 1'b1;
          bank_row[bank_of(depthwise_read_address_i[p])] = row_of(depthwise_read_address_i[p]);
          bank_client[bank_of(depthwise_read_address_i[p])] = CLIENT_DEPTHWISE;
        end
      end
      for (int unsigned p = 0; p < ELEMENTWISE_PORTS; p++) begin
        if (elementwise_read_grant_o[p]) begin
          moved_elementwise = 1'b1;
          bank_read[bank_of(elementwise_read_address_i[p])] = 1'b1;
          bank_row[bank_of(elementwise_read_address_i[p])] = row_of(elementwise_read_address_i[p]);
          bank_client[bank_of(elementwise_read_address_i[p])] = CLIENT_ELEMENTWISE;
        end
      end
      if (store_read_grant_o) begin
        bank_read[bank_of(store_read_address_i)] = 1'b1;
        bank_row[bank_of(store_read_address_i)] = row_of(store_read_address_i);
        bank_client[bank_of(store_read_address_i)] = CLIENT_STORE;
      end
      if (fetch_read_grant_o) begin
        bank_read[bank_of(fetch_read_address_i)] = 1'b1;
        bank_row[bank_of(fetch_read_address_i)] = row_of(fetch_read_address_i);
        bank_client[bank_of(fetch_read_address_i)] = CLIENT_FETCH;
      end

      for (int unsigned b = 0; b < BANKS; b++) begin
        if (bank_read[b]) begin
          word = memory_q[bank_row[b]][b];
          bank_word[b] = word;
          if ((^word) != parity_q[bank_row[b]][b]) begin
            parity_error_o   <= 1'b1;
            parity_client_o  <= bank_client[b];
            parity_address_o <= (32'(bank_row[b]) << BANK_BITS) | b;
          end
        end
        if (bank_write[b]) begin
          case (bank_client[b])
            CLIENT_ARRAY:       word = array_write_data_i;
            CLIENT_DEPTHWISE:   word = depthwise_write_data_i;
            CLIENT_ELEMENTWISE: word = elementwise_write_data_i;
            default:            word = load_write_data_i;
          endcase
          memory_q[bank_row[b]][b] = word;
          parity_q[bank_row[b]][b] = ^word;
        end
      end

      if (moved_array) begin
        for (int unsigned p = 0; p < ARRAY_PORTS; p++) begin
          if (array_read_grant_o[p]) array_data[p] = bank_word[bank_of(array_read_address_i[p])];
        end
        array_read_data_o <= array_data;
      end
      if (moved_depthwise) begin
        for (int unsigned p = 0; p < DEPTHWISE_PORTS; p++) begin
          if (depthwise_read_grant_o[p]) depthwise_data[p] = bank_word[bank_of(depthwise_read_address_i[p])];
        end
        depthwise_read_data_o <= depthwise_data;
      end
      if (moved_elementwise) begin
        for (int unsigned p = 0; p < ELEMENTWISE_PORTS; p++) begin
          if (elementwise_read_grant_o[p]) elementwise_data[p] = bank_word[bank_of(elementwise_read_address_i[p])];
        end
        elementwise_read_data_o <= elementwise_data;
      end
      if (store_read_grant_o) store_read_data_o <= bank_word[bank_of(store_read_address_i)];
      if (fetch_read_grant_o) fetch_read_data_o <= bank_word[bank_of(fetch_read_address_i)];
    end
    if (debug_read_grant_o) begin
      word = '0;
      debug_read_parity_o <= 1'b0;
      if (debug_read_address_i < DEPTH * BANKS) begin
        word = memory_q[row_of(debug_read_address_i)][bank_of(debug_read_address_i)];
        debug_read_parity_o <= (^word) != parity_q[row_of(debug_read_address_i)][bank_of(debug_read_address_i)];
      end
      debug_read_data_o <= word;
    end
    if (flip_valid_i) begin
      if (flip_address_i < DEPTH * BANKS) begin
        parity_q[row_of(flip_address_i)][bank_of(flip_address_i)] =
            !parity_q[row_of(flip_address_i)][bank_of(flip_address_i)];
      end
    end
    if (!rst_ni) begin
      parity_error_o      <= 1'b0;
      debug_read_parity_o <= 1'b0;
    end
  end
endmodule
