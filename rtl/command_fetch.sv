// SPDX-License-Identifier: Apache-2.0
// Copyright The Systole authors
// Commands of a run on their way from region program to the queues: words are read through an own scratchpad port and put
// together; the command is checked (opcode by the firmware's table, then every field, docs/architecture.md, "To the bit");
// its addresses are relocated through the launch's windows; it waits for room in the queue of its unit. Each step works
// on another command.
module command_fetch
  import systole_pkg::*;
#(
  parameter int unsigned CORES            = 1,
  parameter int unsigned ROWS             = 16,
  parameter int unsigned COLUMNS          = 16,
  parameter int unsigned ACCUMULATORS     = 512,
  parameter int unsigned WEIGHT_PORT_ROWS = 4,
  localparam int unsigned WORD            = 8 * COLUMNS
) (
  input  logic            clk_i,
  input  logic            rst_ni,
  input  logic            halt_i,
  input  logic            launch_i,
  input  logic [63:0]     descriptor_i [12], // held while the run is active
  output logic [7:0]      opcode_o,          // looked up in the firmware's table
  input  logic [7:0]      entry_i,

  output logic            read_valid_o,
  output logic [31:0]     read_address_o,
  input  logic            read_grant_i,
  input  logic [WORD-1:0] read_data_i,

  output logic            push_valid_o [UNITS],
  input  logic            push_ready_i [UNITS],
  output logic [1023:0]   push_command_o,
  output logic [255:0]    push_windows_o,
  output logic [31:0]     push_index_o,

  input  logic            hold_i,            // the checked command stays where it is (debug_module)
  output logic            check_valid_o,
  output logic [31:0]     check_index_o,
  output logic [15:0]     check_operator_o,
  output logic            passed_o,          // it goes on to the queues in this cycle

  output logic [31:0]     reading_o,         // index of the command whose words arrive
  output logic            error_o,
  output logic [7:0]      error_code_o,
  output logic [31:0]     error_command_o,
  output logic [31:0]     error_detail_o
);
  localparam int unsigned COMMAND_WORDS = 8 * COMMAND_BYTES / WORD;

  // ------------------------------------------------------------------------------------------------------- read
  logic [31:0]   unread_q, address_q;
  logic [5:0]    requested_q, received_q;
  logic          arriving_q;
  logic [1023:0] words_q;
  logic          check_valid_q, push_valid_q;
  logic          complete, advance;
  assign read_valid_o   = unread_q != '0 && requested_q < 6'(COMMAND_WORDS);
  assign read_address_o = address_q;
  assign complete       = received_q == 6'(COMMAND_WORDS);
  assign advance        = complete && !check_valid_q && !halt_i;

  always_ff @(posedge clk_i) begin
    arriving_q <= read_valid_o && read_grant_i;
    if (read_valid_o && read_grant_i) begin
      address_q   <= address_q + 1'b1;
      requested_q <= requested_q + 1'b1;
    end
    if (arriving_q) begin
      words_q    <= 1024'({read_data_i, words_q} >> WORD);
      received_q <= received_q + 1'b1;
    end
    if (advance) begin
      requested_q <= '0;
      received_q  <= '0;
      unread_q    <= unread_q - 1'b1;
      reading_o   <= reading_o + 1'b1;
    end
    if (launch_i) begin
      unread_q    <= descriptor_i[0][63:32];
      address_q   <= descriptor_i[2][31:0];
      requested_q <= '0;
      received_q  <= '0;
      reading_o   <= '0;
    end
    if (!rst_ni) begin
      unread_q    <= '0;
      requested_q <= '0;
      received_q  <= '0;
      arriving_q  <= 1'b0;
      reading_o   <= '0;
    end
  end

  // ------------------------------------------------------------------------------------------------------ check
  logic [1023:0]        command_q;
  logic [31:0]          index_q;
  transfer_command_t    transfer;
  window_command_t      window;
  elementwise_command_t elementwise;
  logic                 known, header_good, fields_good, unit_good;
  assign transfer    = transfer_command_t'(command_q);
  assign window      = window_command_t'(command_q);
  assign elementwise = elementwise_command_t'(command_q);
  assign opcode_o    = command_q[7:0];

  assign check_valid_o    = check_valid_q;
  assign check_index_o    = index_q;
  assign check_operator_o = transfer.operator_index;

  function automatic logic conv_good(window_command_t c);
    logic good;
    good = c.tile_rows != '0 && 32'(c.tile_rows) <= ROWS && 32'(c.tile_rows) % WEIGHT_PORT_ROWS == '0 &&
           c.block_rows != '0 && 32'(c.block_rows) * 32'(c.output_width) <= ACCUMULATORS;
    if (c.flags[FLAG_PACKED]) begin
      good = good && c.segments != '0 && c.segment_bytes != '0 &&
             16'(c.segments) * 16'(c.segment_bytes) <= c.tile_rows;
    end
    return good;
  endfunction

  always_comb begin
    known       = 1'b0;
    fields_good = 1'b1;
    unit_good   = 1'b0;
    header_good = 1'b0;
    if (check_valid_q) begin
      unit_good = entry_i[7] && transfer.unit < 8'(UNITS) &&
                  (entry_i[3:0] == UNIT_ANY || entry_i[3:0] == transfer.unit[3:0]);
      header_good = 32'(transfer.core) < CORES && transfer.reserved0 == '0 && transfer.flags <= 16'd127;
      case (opcode_o)
        OPCODE_NOP: known = 1'b1;
        OPCODE_LOAD, OPCODE_STORE: begin
          known       = 1'b1;
          fields_good = transfer_fields_good(transfer);
        end
        OPCODE_CONV: begin
          known       = 1'b1;
          fields_good = window_fields_good(window) && conv_good(window);
        end
        OPCODE_DEPTHWISE: begin
          known       = 1'b1;
          fields_good = window_fields_good(window) && 16'(window.kernel_height) * 16'(window.kernel_width) <= 16'd256;
        end
        OPCODE_MAX_POOL, OPCODE_MIN_POOL, OPCODE_AVERAGE_POOL, OPCODE_SUM_POOL: begin
          known       = 1'b1;
          fields_good = window_fields_good(window);
        end
        OPCODE_ADD, OPCODE_REQUANTISE, OPCODE_SUB, OPCODE_MUL, OPCODE_MAXIMUM, OPCODE_MINIMUM,
        OPCODE_SQUARED_DIFFERENCE, OPCODE_PRELU, OPCODE_TABLE: begin
          known       = 1'b1;
          fields_good = elementwise_fields_good(elementwise);
        end
        default: ;
      endcase
    end
  end

  // --------------------------------------------------------------------------------------------------- relocate
  // Of one address: {first word behind the window, first word of the window, absolute word}. Regions that do not exist
  // have an empty window.
  function automatic logic [95:0] relocate(logic [31:0] address, logic [63:0] descriptor [12]);
    logic [31:0] base, words;
    base  = address[31] ? '0 : descriptor[4'd2 + 4'(address[30:28])][31:0];
    words = address[31] ? '0 : descriptor[4'd2 + 4'(address[30:28])][63:32];
    return {base + words, base, base + {4'd0, address[27:0]}};
  endfunction

  logic [95:0]   place [4];       // input, input2, output, parameter
  logic [1023:0] command;         // relocated; private to the block below, as place
  logic [3:0]    unit_q;
  logic          pushed, checked;
  assign pushed = push_valid_q && push_ready_i[unit_q[2:0]] && !halt_i;
  assign checked  = check_valid_q && !error_o && !halt_i && !hold_i && (!push_valid_q || pushed);
  assign passed_o = checked && unit_good && known && header_good && fields_good;
  for (genvar u = 0; u < UNITS; u++) begin : g_push
    assign push_valid_o[u] = push_valid_q && unit_q == 4'(u) && !halt_i;
  end

  always_ff @(posedge clk_i) begin
    if (pushed) push_valid_q <= 1'b0;
    if (advance) begin
      command_q     <= words_q;
      index_q       <= reading_o;
      check_valid_q <= 1'b1;
    end
    if (checked) begin
      if (!unit_good || !known || !header_good || !fields_good) begin
        error_o         <= 1'b1;
        error_code_o    <= unit_good && known ? ERROR_FIELD : ERROR_OPCODE;
        error_command_o <= index_q;
        error_detail_o  <= 32'(opcode_o);
      end else begin
        command  = command_q;
        place[0] = relocate(transfer.address, descriptor_i); // every format with a body begins with this address
        place[1] = relocate(elementwise.input2_address, descriptor_i);
        place[2] = relocate(window.output_address, descriptor_i);
        place[3] = relocate(window.parameter_address, descriptor_i);
        if (opcode_o != OPCODE_NOP) command[223:192] = place[0][31:0];
        if (opcode_o[7:4] == 4'd4) begin // element-wise
          place[2] = relocate(elementwise.output_address, descriptor_i);
          command[319:288] = place[1][31:0];
          command[415:384] = place[2][31:0];
        end else if (opcode_o[5:4] == 2'd2 || opcode_o[5:4] == 2'd3) begin
          command[479:448] = place[2][31:0];
          command[671:640] = place[3][31:0];
        end
        push_command_o <= command;
        push_windows_o <= {place[3][95:32], place[2][95:32], place[1][95:32], place[0][95:32]};
        push_index_o   <= index_q;
        unit_q         <= transfer.unit[3:0];
        push_valid_q   <= 1'b1;
        check_valid_q  <= 1'b0;
      end
    end
    if (!rst_ni || launch_i) begin
      check_valid_q <= 1'b0;
      push_valid_q  <= 1'b0;
    end
    if (!rst_ni) error_o <= 1'b0;
  end
endmodule
